"""Memory that is freed and allocated again."""

import subprocess
import sys

import pytest

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


def count_faults(how):
    """Pages that the system clears in one of many equal steps."""
    result = subprocess.run(
        [sys.executable, "-c", COUNT, how], capture_output=True, text=True
    )
    if "no GNU allocator" in result.stderr:
        pytest.skip("the allocator is not GNU's")
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


def test_kept_memory_is_not_cleared_by_the_system_again():
    cleared = count_faults("default")
    if cleared < 1000:
        pytest.skip("here, freed memory is kept anyway")
    assert count_faults("keep") < cleared / 10
