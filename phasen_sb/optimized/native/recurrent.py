"""The recurrent layer, computed by the compiled kernels."""

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.optimized.native.library import (
    DEPTH,
    INT,
    POINTER,
    VECTOR,
    Compiled,
    call,
    structure,
)

#: Frames whose gates' inputs the recurrent layer keeps, in each direction.
RECURRENT_FRAMES = 640

_Recurrence = structure(
    "_Recurrence",
    {
        "input": POINTER * 2,
        "bias": POINTER,
        "weight": POINTER,
        "y": POINTER * 2,
        "y_row": INT,
        "state": POINTER,
        "cells": POINTER,
        "frames": INT,
        "units": INT,
    },
)


class LSTM(Compiled):
    """A bidirectional LSTM whose directions run on a thread each.

    Arguments
    ---------
    layer : torch.nn.LSTM
        One layer, bidirectional, with biases.
    dtype : torch.dtype
        Of the weights and of what goes in and out.

    Example
    -------
    >>> from phasen_sb.optimized.native.library import find_kind
    >>> layer = nn.LSTM(8, 5, bidirectional=True)
    >>> x = torch.randn(7, 8)
    >>> find_kind(x.dtype) is None or torch.allclose(
    ...     LSTM(layer, x.dtype)(x), layer(x)[0], atol=1e-6
    ... )
    True
    """

    #: Units that are computed together.
    GROUP = 64

    def __init__(self, layer: nn.LSTM, dtype: torch.dtype):
        super().__init__(dtype)
        self.units = layer.hidden_size
        self.groups = -(-self.units // self.GROUP)
        ways = [
            [getattr(layer, name + way).detach() for name in _LSTM_WEIGHTS]
            for way in ("_l0", "_l0_reverse")
        ]
        inputs = [self._order(way[0]).flatten(0, 1).to(dtype) for way in ways]
        self.register_buffer("inputs", torch.stack(inputs))
        recurrent = torch.stack([self._order(way[1]) for way in ways])
        recurrent = recurrent.transpose(-1, -2)
        if dtype == torch.bfloat16:
            recurrent = F.pad(recurrent, (0, 0, 0, self.units % 2))
            recurrent = recurrent.unflatten(-2, (-1, 2)).transpose(-1, -2)
        self.register_buffer("recurrent", recurrent.to(dtype).contiguous())
        biases = [way[2] + way[3] for way in ways]
        bias = torch.stack([self._order(b[:, None]) for b in biases])
        self.register_buffer("bias", bias.float().contiguous())

    def _order(self, weight):
        """``[4 * units, n]`` to ``[groups, 256, n]``, a vector a gate."""
        weight = weight.unflatten(0, (4, self.units))
        filled = self.groups * self.GROUP - self.units
        weight = F.pad(weight, (0, 0, 0, filled))
        weight = weight.unflatten(1, (self.groups, -1, VECTOR))
        return weight.permute(1, 2, 0, 3, 4).flatten(1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[T, features]`` to ``[T, 2 * units]``."""
        frames = len(x)
        y = x.new_empty(frames, 2, self.units)
        state = x.new_zeros(2, self.groups * self.GROUP)
        cells = torch.zeros(state.shape, dtype=torch.float32)
        for start in range(0, frames, RECURRENT_FRAMES):
            end = min(start + RECURRENT_FRAMES, frames)
            # One direction from the start, the other from the end.
            parts = slice(start, end), slice(frames - end, frames - start)
            gates = [
                self._product(x[part], weight)
                for part, weight in zip(parts, self.inputs, strict=True)
            ]
            places = [y[part, way] for way, part in enumerate(parts)]
            arguments = _Recurrence(
                (POINTER * 2)(*(gate.data_ptr() for gate in gates)),
                self.bias.data_ptr(),
                self.recurrent.data_ptr(),
                (POINTER * 2)(*(place.data_ptr() for place in places)),
                y.stride(0),
                state.data_ptr(),
                cells.data_ptr(),
                end - start,
                self.units,
            )
            call("phasen_recur", self.kind, arguments)
        return y.flatten(1)

    def _product(self, x, weight):
        # Products of rows in multiples of 32 are twice as fast in bf16.
        return F.linear(F.pad(x, (0, 0, 0, -len(x) % DEPTH)), weight)


_LSTM_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
