"""Draws the memory of `phasen live` over the length of the sound (Linux).

    python examples/live_memory.py live 60 memory.png

pipes 60 minutes of noise through it, as fast as it computes, and prints its
resident memory after each minute. Fails if it grows by more than 2 MB after the
fifth part of them.
"""

import argparse
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

RATE = 16000
MINUTE = 60 * RATE


def resident(process: int) -> float:
    """Memory of a process (MB)."""
    status = Path(f"/proc/{process}/status").read_text()
    [line] = [x for x in status.splitlines() if x.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def measure(model: str, minutes: int, block: float) -> list[float]:
    """Memory after each minute of sound (MB)."""
    ends = ["--input", "-", "--output", "-", "--rate", str(RATE)]
    options = ["--model", model, "--block", str(block)]
    process = subprocess.Popen(
        [sys.executable, "-m", "phasen_sb.cli", "live", *ends, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    memory = []
    rng = np.random.default_rng(0)

    def write():
        for _ in range(minutes):
            noise = rng.normal(0, 2000, MINUTE).astype("<i2")
            process.stdin.write(noise.tobytes())
        process.stdin.close()

    writer = threading.Thread(target=write)
    writer.start()
    for minute in range(minutes):
        left = 2 * MINUTE
        while left:
            left -= len(process.stdout.read(min(left, 2**16)))
        memory.append(resident(process.pid))
        print(f"{minute + 1} min: {memory[-1]:.1f} MB", flush=True)
    process.stdout.read()
    writer.join()
    if process.wait():
        sys.exit("phasen live failed.")
    return memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a causal model")
    parser.add_argument("minutes", type=int)
    parser.add_argument("picture", help="where to draw the curve")
    parser.add_argument("--block", type=float, default=16.0, help="ms")
    given = parser.parse_args()
    memory = measure(given.model, given.minutes, given.block)
    figure = Figure(figsize=(6, 3), layout="constrained")
    axis = figure.subplots()
    axis.plot(range(1, len(memory) + 1), memory)
    axis.set(
        xlabel="minutes of sound",
        ylabel="resident memory (MB)",
        xlim=(0, len(memory)),
        ylim=(0, 1.2 * max(memory)),
    )
    axis.grid(alpha=0.3)
    figure.savefig(given.picture, dpi=120)
    settled = memory[len(memory) // 5 :]
    if max(settled) > settled[0] + 2:
        sys.exit(f"Memory grew from {settled[0]:.1f} to {max(settled):.1f} MB.")


if __name__ == "__main__":
    main()
