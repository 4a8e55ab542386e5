"""The compiled kernels, found and called.

They are compiled once for each instruction set, each a library of its own, of
which the fastest that the CPU can run is used. The environment variable
``PHASEN_KERNELS`` names another (``avx2``, ``avx512``, ``amx``, ``neon``), or
``none`` for PyTorch's operators. It is read once, when kernels are first
looked for.
"""

import ctypes
import functools
import os
import warnings
import zlib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from phasen_sb.errors import UserError

#: Columns of matrices are padded to it.
LINE = 16


class Kind(NamedTuple):
    """Kernels of one precision for one instruction set."""

    title: str
    library: str  #: that contains them
    number: int  #: in the C++ enumeration
    dtype: torch.dtype

    @property
    def columns(self) -> int:
        """Columns that cost as much as fewer of them."""
        return LINE if self.library == "avx512" else LINE // 2


AVX2 = Kind("AVX2", "avx2", 0, torch.float32)
NEON = Kind("NEON", "neon", 0, torch.float32)
AVX512 = Kind("AVX-512", "avx512", 0, torch.float32)
BF16 = Kind("AVX512-BF16", "avx512", 1, torch.bfloat16)
AMX = Kind("AMX", "avx512", 2, torch.bfloat16)
KINDS = (AVX2, NEON, AVX512, BF16, AMX)
#: What each value of PHASEN_KERNELS computes with, the fastest first. The first
#: kind of each is what the CPU must have.
CHOICES = {
    "amx": (AMX, AVX512),
    "avx512": (AVX512, BF16),
    "avx2": (AVX2,),
    "neon": (NEON,),
}

#: bf16 values in a row of an AMX tile, which sum up at once.
DEPTH = 32

POINTER, INT = ctypes.c_void_p, ctypes.c_int64

_CALL = [ctypes.c_int, ctypes.c_void_p]
_ARGUMENTS = {
    "phasen_supports": [ctypes.c_int],
    "phasen_convolve": _CALL,
    "phasen_convolve_winograd": _CALL,
    "phasen_filter": _CALL,
    "phasen_differentiate": _CALL,
    "phasen_find_moments": [*_CALL, ctypes.c_void_p],
    "phasen_rectify": _CALL,
    "phasen_sum_up_gradients": [*_CALL, ctypes.c_void_p],
    "phasen_differentiate_norm": _CALL,
    "phasen_transform": _CALL,
    "phasen_copy": _CALL,
    "phasen_to_float24": _CALL,
    "phasen_from_float24": _CALL,
    "phasen_affine": _CALL,
    "phasen_frame_norm": [*_CALL, ctypes.c_float],
    "phasen_moments": [*_CALL, ctypes.c_void_p],
    "phasen_recur": _CALL,
}


@functools.cache
def load_library(name: str) -> ctypes.CDLL | None:
    """Loads the kernels that were compiled for an instruction set.

    Arguments
    ---------
    name : str
        ``avx2``, ``avx512`` or ``neon``.

    Returns
    -------
    ctypes.CDLL or None
        None if they were not compiled, or, with a warning, if they were
        compiled from other sources.

    Example
    -------
    >>> load_library("mmx") is None
    True
    """
    folder = Path(__file__).parent
    # The last suffix is without Python's version, as they are named now.
    paths = [
        folder / f"_kernels_{name}{suffix}"
        for suffix in reversed(EXTENSION_SUFFIXES)
    ]
    found = [path for path in paths if path.exists()]
    if not found:
        return None
    try:
        library = ctypes.CDLL(str(found[0]))
    except OSError as error:
        warnings.warn(
            f"Enhancing is slower than it could be: {error}", stacklevel=2
        )
        return None
    # Wheels contain the library without its sources.
    sources = sorted([*folder.glob("*.cpp"), *folder.glob("*.hpp")])
    text = b"".join(path.read_bytes() for path in sources)
    if sources and zlib.crc32(text) != _compiled_from(library):
        warnings.warn(
            f"{found[0]} was compiled from other sources than those beside it "
            "and is not used; install phasen_sb again to enhance faster.",
            stacklevel=2,
        )
        return None
    for function, arguments in _ARGUMENTS.items():
        getattr(library, function).argtypes = arguments
    return library


def _compiled_from(library):
    if not hasattr(library, "phasen_sources"):
        return None
    library.phasen_sources.restype = ctypes.c_uint
    return library.phasen_sources()


def is_supported(kind: Kind) -> bool:
    """Whether kernels of a kind were compiled and the CPU can run them.

    Example
    -------
    >>> is_supported(Kind("MMX", "mmx", 0, torch.float32))
    False
    """
    library = load_library(kind.library)
    return library is not None and bool(library.phasen_supports(kind.number))


@functools.cache
def list_kinds() -> tuple[Kind, ...]:
    """Lists the kernels to use on this machine, the fastest first.

    Raises
    ------
    phasen_sb.errors.UserError
        If ``PHASEN_KERNELS`` has an unknown value, or one that the CPU cannot
        run or that was not compiled.

    Example
    -------
    >>> set(list_kinds()) <= set(KINDS)
    True
    """
    wanted = os.environ.get("PHASEN_KERNELS")
    if wanted == "none":
        return ()
    if not wanted:  # a variable that is empty is as good as unset
        kinds = [kind for choice in CHOICES.values() for kind in choice]
        return tuple(kind for kind in kinds if is_supported(kind))
    if wanted not in CHOICES:
        raise UserError(
            f"The environment variable PHASEN_KERNELS is {wanted!r}; set it "
            f"to {', '.join(CHOICES)}, or to none, to compute without the "
            "compiled kernels, or unset it."
        )
    needed = CHOICES[wanted][0]
    if not is_supported(needed):
        reason = f"this CPU has no {needed.title}"
        if load_library(needed.library) is None:
            reason = f"the kernels for {needed.title} are not compiled here"
        raise UserError(
            f"The environment variable PHASEN_KERNELS is {wanted!r}, but "
            f"{reason}; set it to another value, or unset it."
        )
    return tuple(kind for kind in CHOICES[wanted] if is_supported(kind))


def find_kind(dtype: torch.dtype) -> Kind | None:
    """Finds the fastest kernels for a precision that this CPU can run.

    Example
    -------
    >>> find_kind(torch.float64) is None
    True
    """
    return next((kind for kind in list_kinds() if kind.dtype == dtype), None)


def has_memory(*tensors: torch.Tensor) -> bool:
    """Tells whether kernels, which read memory unchecked, can read tensors.

    Those that stand for others, such as PyTorch's fake ones, have none.

    Example
    -------
    >>> has_memory(torch.rand(2), nn.Parameter(torch.rand(2)))
    True
    """
    return all(type(x) in (torch.Tensor, nn.Parameter) for x in tensors)


def describe_kernels(dtype: torch.dtype) -> str:
    """Names what computes a precision on this machine.

    Arguments
    ---------
    dtype : torch.dtype
        ``torch.float32`` or ``torch.bfloat16``.

    Returns
    -------
    str
        ``compiled kernels`` with their instructions, or ``PyTorch``.

    Example
    -------
    >>> describe_kernels(torch.float64)
    'PyTorch'
    """
    kind = find_kind(dtype)
    return f"compiled kernels ({kind.title})" if kind else "PyTorch"


def call(
    name: str, kind: Kind, arguments: ctypes.Structure, *further: object
) -> None:
    """Calls a kernel, in this thread; other Python threads go on meanwhile."""
    getattr(load_library(kind.library), name)(
        kind.number, ctypes.byref(arguments), *further
    )


def declare_structure(
    name: str, fields: dict[str, type]
) -> type[ctypes.Structure]:
    """Declares a structure of the C++ code: the same fields in order."""
    return type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})


class Compiled(nn.Module):
    """A layer that the compiled kernels compute.

    Its tensors are buffers in the layout of the kernels of its precision, and
    pointers are taken at each call. So it can be copied, and stored for any
    machine that has such kernels.

    Arguments
    ---------
    dtype : torch.dtype
        The precision.

    Raises
    ------
    phasen_sb.errors.UserError
        When it is loaded where there are no such kernels.

    Example
    -------
    >>> Compiled(torch.float32).kind == find_kind(torch.float32)
    True
    """

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        self.kind = find_kind(dtype)

    def __setstate__(self, state):
        super().__setstate__(state)
        # It may have been stored on another CPU.
        self.kind = find_kind(self.dtype)
        if self.kind is None:
            raise UserError(
                "This enhancer was optimized for compiled kernels, which are "
                "not installed, do not run on this CPU, or are switched off "
                "by PHASEN_KERNELS; optimize the trained enhancer here."
            )
