"""The kernels by themselves, compiled for CPUs that may not be this one.

``native/check.cpp`` compares each kernel with plain loops, without PyTorch.
Other CPUs are emulated: on Debian, ``apt install g++-aarch64-linux-gnu
qemu-user`` brings what NEON needs.
"""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "native" / "check.cpp"
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=fast", "-pthread"]
FLAGS += ["-DPHASEN_SOURCES=0"]
#: What check.cpp returns on a CPU without the instructions.
NOT_HERE = 77

X86 = {
    "AVX2": ["-mavx2", "-mfma"],
    "AVX-512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
    + ["-mavx512bf16"],
}
ARM = ["aarch64-linux-gnu-g++", "-static"]
COMPILERS = {
    f"{compiler}, {name}": ([compiler, *flags], None)
    for compiler in ("g++", "clang++")
    for name, flags in X86.items()
} | {
    "g++, NEON": (ARM, "qemu-aarch64"),
    "clang++, NEON": (
        ["clang++", "--target=aarch64-linux-gnu", "-static"],
        "qemu-aarch64",
    ),
}


@pytest.mark.parametrize(
    ("compiler", "emulator"), COMPILERS.values(), ids=COMPILERS.keys()
)
def test_kernels_equal_plain_loops(compiler, emulator, tmp_path):
    needed = [compiler[0], *([emulator, ARM[0]] if emulator else [])]
    missing = [tool for tool in needed if not shutil.which(tool)]
    if not emulator and platform.machine() != "x86_64":
        missing.append("x86-64")
    if missing:
        pytest.skip(f"no {', '.join(missing)}")
    program = tmp_path / "check"
    subprocess.run([*compiler, *FLAGS, SOURCE, "-o", program], check=True)
    command = [emulator, program] if emulator else [program]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode == NOT_HERE:
        pytest.skip("this CPU does not have the instructions")
    assert result.returncode == 0, result.stdout
    assert {"recur", "differentiate", "gradient"} <= set(result.stdout.split())
