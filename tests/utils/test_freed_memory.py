"""Memory that is freed and allocated again."""

import subprocess
import sys

import pytest

from phasen_sb.utils.freed_memory import keep_freed_memory

COUNT = """
import resource, sys
import torch
from phasen_sb.utils.freed_memory import keep_freed_memory

if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("no GNU allocator")
for _ in range(9):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    kept = [torch.ones(2**21) for _ in range(20)]  # 8 MB each
    del kept
    after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(after - before)
"""
RETURN = """
import sys
from ctypes import CDLL, c_size_t, c_ssize_t, c_void_p
from phasen_sb.utils.freed_memory import keep_freed_memory

if not keep_freed_memory():
    sys.exit("no GNU allocator")
system = CDLL(None)
system.malloc.argtypes, system.malloc.restype = [c_size_t], c_void_p
system.free.argtypes = [c_void_p]
system.sbrk.argtypes, system.sbrk.restype = [c_ssize_t], c_void_p
blocks = [system.malloc(2**24) for _ in range(160)]  # never written to
end = system.sbrk(0)
for block in reversed(blocks):
    system.free(block)
print(end - system.sbrk(0))
"""


def run(code, *arguments):
    """Returns the number that a process of its own prints."""
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True
    )
    if "no GNU allocator" in result.stderr:
        pytest.skip("the allocator is not GNU's")
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


def count_faults(how):
    """Pages that the system clears in one of many equal steps."""
    return run(COUNT, how)


def test_more_than_2_gb_are_kept_too():
    """A threshold of the largest integer would return all that exceeds it."""
    assert run(RETURN) == 0


def test_kept_memory_is_not_cleared_by_the_system_again():
    cleared = count_faults("default")
    if cleared < 1000:
        pytest.skip("here, freed memory is kept anyway")
    assert count_faults("keep") < cleared / 10


def test_what_the_environment_sets_stays(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    assert not keep_freed_memory()
