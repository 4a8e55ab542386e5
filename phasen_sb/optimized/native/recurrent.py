"""The recurrent layer, by the compiled kernels."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.optimized.native.library import (
    DEPTH,
    INT,
    LINE,
    POINTER,
    Compiled,
    call,
    declare_structure,
)

_WAYS = ("_l0", "_l0_reverse")
#: About so many frames' inputs of gates are computed at once, to save memory.
RECURRENT_FRAMES = 640

_Recurrence = declare_structure(
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
    """A bidirectional LSTM with a thread for each direction.

    Arguments
    ---------
    layer : torch.nn.LSTM
        One layer, bidirectional, with biases.
    dtype : torch.dtype
        Of weights, inputs and outputs.

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
        inputs, recurrent, *biases = (
            torch.stack([getattr(layer, name + way) for way in _WAYS]).detach()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        inputs = self._order(inputs).flatten(1, 2)
        self.register_buffer("inputs", inputs.to(dtype))
        recurrent = self._order(recurrent).transpose(-1, -2)
        if dtype == torch.bfloat16:
            recurrent = F.pad(recurrent, (0, 0, 0, self.units % 2))
            recurrent = recurrent.unflatten(-2, (-1, 2)).transpose(-1, -2)
        self.register_buffer("recurrent", recurrent.to(dtype).contiguous())
        bias = self._order((biases[0] + biases[1]).unsqueeze(2))
        self.register_buffer("bias", bias.float().contiguous())

    def _order(self, weights):
        """``[2, 4 * units, n]`` to ``[2, groups, 256, n]``, by vectors."""
        weights = weights.unflatten(1, (4, self.units))
        filled = self.groups * self.GROUP - self.units
        weights = F.pad(weights, (0, 0, 0, filled))
        weights = weights.unflatten(2, (self.groups, -1, LINE))
        return weights.permute(0, 2, 3, 1, 4, 5).flatten(2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[T, features]`` to ``[T, 2 * units]``."""
        frames = len(x)
        y = x.new_empty(frames, 2, self.units)
        state = x.new_zeros(2, self.groups * self.GROUP)
        cells = torch.zeros(state.shape, dtype=torch.float32)
        count = max(1, round(frames / RECURRENT_FRAMES))
        bounds = [frames * part // count for part in range(count + 1)]
        for start, end in pairwise(bounds):
            # One direction from the start, the other from the end.
            parts = slice(start, end), slice(frames - end, frames - start)
            gates = [
                self._product(x[part], weight)
                for part, weight in zip(parts, self.inputs, strict=True)
            ]
            places = [y[part, i] for i, part in enumerate(parts)]
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
        if x.dtype == torch.bfloat16:
            # Products of rows in multiples of 32 are twice as fast.
            x = F.pad(x, (0, 0, 0, -len(x) % DEPTH))
        return F.linear(x, weight)
