"""The compiled kernels, found and called.

If the environment variable ``PHASEN_KERNELS`` is ``none``, PyTorch's operators
are used instead. It is read once, when kernels are first looked for.
"""

import ctypes
import functools
import os
import warnings
import zlib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch
from torch import nn

from phasen_sb.errors import UserError

# In the order of the C++ enumeration.
FP32, BF16, AMX = range(3)
#: Floats in a vector, and rows in an AMX tile.
VECTOR = 16
#: bf16 values in a row of an AMX tile, which sum up at once.
DEPTH = 32

POINTER, INT = ctypes.c_void_p, ctypes.c_int64

_CALL = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
_ARGUMENTS = {
    "phasen_supports": [ctypes.c_int],
    "phasen_convolve": _CALL,
    "phasen_convolve_winograd": _CALL,
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
def load_library() -> ctypes.CDLL | None:
    """Loads the compiled kernels.

    Returns
    -------
    ctypes.CDLL or None
        None if they were not compiled, if ``PHASEN_KERNELS`` is ``none``, or,
        with a warning, if they were compiled from other sources.

    Raises
    ------
    phasen_sb.errors.UserError
        If ``PHASEN_KERNELS`` is anything else.

    Example
    -------
    >>> library = load_library()
    >>> library is None or library.phasen_supports(FP32) in (0, 1)
    True
    """
    wanted = os.environ.get("PHASEN_KERNELS")
    if wanted == "none":
        return None
    if wanted is not None:
        raise UserError(
            f"The environment variable PHASEN_KERNELS is {wanted!r}; set it "
            "to none, to compute without the compiled kernels, or unset it."
        )
    folder = Path(__file__).parent
    paths = [folder / ("_kernels" + suffix) for suffix in EXTENSION_SUFFIXES]
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
    for name, arguments in _ARGUMENTS.items():
        getattr(library, name).argtypes = arguments
    return library


def _compiled_from(library):
    if not hasattr(library, "phasen_sources"):
        return None
    library.phasen_sources.restype = ctypes.c_uint
    return library.phasen_sources()


@functools.cache
def find_kind(dtype: torch.dtype) -> int | None:
    """Finds the fastest kernels for a precision that this CPU can run.

    Example
    -------
    >>> find_kind(torch.float64) is None
    True
    """
    kinds = {torch.float32: (FP32,), torch.bfloat16: (AMX, BF16)}
    library = load_library()
    if library is not None:
        for kind in kinds.get(dtype, ()):
            if library.phasen_supports(kind):
                return kind
    return None


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
    names = {
        FP32: "compiled kernels (AVX-512)",
        BF16: "compiled kernels (AVX512-BF16)",
        AMX: "compiled kernels (AMX)",
    }
    return names.get(find_kind(dtype), "PyTorch")


def call(
    name: str, kind: int, arguments: ctypes.Structure, *further: object
) -> None:
    """Calls a kernel with as many threads as PyTorch uses."""
    getattr(load_library(), name)(
        kind, torch.get_num_threads(), ctypes.byref(arguments), *further
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
