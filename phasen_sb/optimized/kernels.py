"""The choice between compiled kernels and PyTorch's operators."""

from types import ModuleType

import torch

from phasen_sb.native.library import find_kind
from phasen_sb.optimized.native import operations as native
from phasen_sb.optimized.portable import operations as portable


def choose_operations(dtype: torch.dtype) -> ModuleType:
    """Chooses the fastest operations for a precision on this machine.

    Example
    -------
    >>> hasattr(choose_operations(torch.float32), "Conv")
    True
    """
    return portable if find_kind(dtype) is None else native


def find_operations(conv: portable.Conv | native.Conv) -> ModuleType:
    """Finds the operations that a convolution belongs to.

    Example
    -------
    >>> zeros = torch.zeros(1, 1, 1, 1)
    >>> conv = portable.Conv(zeros, zeros.flatten(), torch.float32)
    >>> find_operations(conv) is portable
    True
    """
    return native if isinstance(conv, native.Conv) else portable
