"""Waiting threads sleep, as OpenMP itself tells."""

import os
import subprocess
import sys

import pytest

from phasen_sb.utils.openmp import CHOICES

COMMANDS = {
    "phasen": ["-m", "phasen_sb.cli", "enhance", "missing.wav", "-o", "x.wav"],
    "recipe": ["recipes/train.py", "missing.yaml"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "chosen, policy",
    [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")],
)
def test_threads_wait_as_chosen_or_passively(command, chosen, policy):
    kept = {k: v for k, v in os.environ.items() if k not in CHOICES}
    ended = subprocess.run(
        [sys.executable, *COMMANDS[command]],
        env={**kept, **chosen, "OMP_DISPLAY_ENV": "TRUE"},
        capture_output=True,
        text=True,
    )
    shown = [x for x in ended.stderr.splitlines() if "OMP_WAIT_POLICY" in x]
    if not shown:
        pytest.skip("This OpenMP does not tell its settings.")
    assert all(f"'{policy}'" in line for line in shown)
