"""The choice of what computes tiles: compiled kernels, or PyTorch."""

from types import ModuleType

import torch

from phasen_sb.optimized.native import operations as native
from phasen_sb.optimized.native.library import find_kind
from phasen_sb.optimized.portable import operations as portable


def choose_operations(dtype: torch.dtype) -> ModuleType:
    """The fastest operations for a precision that are installed and run here.

    Example
    -------
    >>> hasattr(choose_operations(torch.float32), "Conv")
    True
    """
    return portable if find_kind(dtype) is None else native


def operations_of(conv: portable.Conv | native.Conv) -> ModuleType:
    """The operations that a convolution is of.

    Example
    -------
    >>> zeros = torch.zeros(1, 1, 1, 1)
    >>> conv = portable.Conv(zeros, zeros.flatten(), torch.float32)
    >>> operations_of(conv) is portable
    True
    """
    return native if isinstance(conv, native.Conv) else portable
