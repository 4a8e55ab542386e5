"""What the machine at hand can compute."""

import os
import platform
import re
import shutil
import sys
from pathlib import Path

import torch

from phasen_sb.errors import UserError, choose

#: What networks compute in; "auto" is the fastest of them.
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def fastest_precision(device: str | None = None) -> str:
    """Chooses the precision to train in: ``bf16`` where hardware computes it.

    That is on GPUs and CPUs (AMX or AVX512-BF16) that have it; elsewhere it is
    ``fp32``. The default device is CUDA if there is any.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if native else "fp32"
    has_bf16 = (
        torch.cpu._is_amx_tile_supported()
        or torch.cpu._is_avx512_bf16_supported()
    )
    return "bf16" if device == "cpu" and has_bf16 else "fp32"


def check_compiler() -> None:
    """Looks for the compiler of the code that ``torch.compile`` generates.

    Raises a :class:`phasen_sb.errors.UserError` if there is no C++ compiler.
    """
    default = "clang++" if sys.platform == "darwin" else "g++"
    compiler = os.environ.get("CXX", default)
    if not shutil.which(compiler):
        raise UserError(
            f"--compile needs the C++ compiler {compiler}; install it, name "
            "another in the environment variable CXX, or leave --compile out."
        )


def describe_device(device: torch.device) -> str:
    """Names the GPU, or the CPU with the number of threads that are used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return str(device)
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        found = re.search(r"model name\s*: (.+)", information.read_text())
        name = found[1] if found else name
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' * (threads > 1)}"


def find_free_memory(device: torch.device) -> float:
    """Finds the free memory of a device (bytes); inf if it cannot be known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    memory = Path("/proc/meminfo")
    if device.type == "cpu" and memory.exists():
        for line in memory.read_text().splitlines():
            name, _, amount = line.partition(":")
            if name == "MemAvailable":
                return 1024 * int(amount.split()[0])
    return float("inf")


def choose_hardware(device: str | None, precision: str) -> dict[str, str]:
    """Chooses device and precision, as SpeechBrain's ``run_opts``.

    ``device`` is ``cpu``, ``cuda``, ``cuda:1`` or ``mps``, or None for CUDA if
    there is any; ``precision`` is ``fp32``, ``bf16`` or ``auto``, the fastest
    one.

    Raises a :class:`phasen_sb.errors.UserError` if the device cannot be used,
    or the precision is unknown.

    Example
    -------
    >>> choose_hardware("cpu", "fp32")
    {'device': 'cpu', 'precision': 'fp32'}
    """
    device = _device(device)
    choose("precision", precision, ("auto", *PRECISIONS))
    if precision == "auto":
        precision = fastest_precision(device)
    return {"device": device, "precision": precision}


def choose_devices(
    devices: str | None, precision: str
) -> tuple[tuple[str, ...], str]:
    """Chooses devices, and the precision that all of them compute.

    ``devices`` names one or, with commas, several. Otherwise this is
    :func:`choose_hardware`; it also raises a UserError if the devices differ
    in kind.

    Example
    -------
    >>> choose_devices("cpu,cpu", "fp32")
    (('cpu', 'cpu'), 'fp32')
    """
    names = [None]
    if devices is not None:
        names = [name.strip() for name in str(devices).split(",")]
    chosen = [choose_hardware(name, precision) for name in names]
    found = tuple(options["device"] for options in chosen)
    if len({name.partition(":")[0] for name in found}) > 1:
        raise UserError(
            f"The devices {devices!r} are of different kinds; give several of "
            "one, such as cuda:0,cuda:1."
        )
    precisions = {options["precision"] for options in chosen}
    # What one of them cannot compute, none does.
    return found, "fp32" if "fp32" in precisions else precisions.pop()


def _device(name):
    if name is None:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    # PyTorch raises AssertionError where it was built without CUDA.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"The device {name!r} cannot be used ({reason.rstrip('.')}); give "
            "cpu, cuda or cuda:N."
        ) from error
    return "cuda:0" if name == "cuda" else name
