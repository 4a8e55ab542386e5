"""Modules whose tensors are laid out for one device and one precision."""

from collections.abc import Callable

import torch
from torch import nn

from phasen_sb.errors import UserError


class Fixed(nn.Module):
    """A module that cannot be moved or cast; see :func:`phasen_sb.optimize`.

    Its tensors are read through pointers, or have the layout of a library:
    moved or cast, they would be misread.

    Raises
    ------
    phasen_sb.errors.UserError
        By ``to``, ``cuda``, ``half`` and the like, if they would change
        anything.

    Example
    -------
    >>> module = Fixed().to("cpu")
    >>> module.half()
    Traceback (most recent call last):
    ...
    phasen_sb.errors.UserError: An optimized enhancer stays on the CPU and in
    its precision; move or cast the trained one.
    """

    #: The precision; some tensors are fp32 in any case.
    dtype = torch.float32

    def _apply(
        self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
    ) -> nn.Module:
        for dtype in (self.dtype, torch.float32):
            # Four axes, since memory formats apply to those.
            probe = torch.empty(2, 2, 2, 2, dtype=dtype)
            there = fn(probe)
            is_same = there.device == probe.device and there.dtype == dtype
            if not is_same or there.stride() != probe.stride():
                raise UserError(
                    "An optimized enhancer stays on the CPU and in its "
                    "precision; move or cast the trained one."
                )
        return super()._apply(fn, recurse)
