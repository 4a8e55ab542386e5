"""The recurrent layer, by the compiled kernels."""

import ctypes
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.native.library import (
    DEPTH,
    INT,
    LINE,
    POINTER,
    Compiled,
    call,
    declare_structure,
)
from phasen_sb.optimized.threads import Workers

_WAYS = ("_l0", "_l0_reverse")
#: About so many frames' inputs of gates are computed at once, to save memory.
RECURRENT_FRAMES = 640

_Recurrence = declare_structure(
    "_Recurrence",
    {
        "input": POINTER,
        "bias": POINTER,
        "weight": POINTER,
        "y": POINTER,
        "y_row": INT,
        "state": POINTER,
        "cells": POINTER,
        "frames": INT,
        "units": INT,
        "backward": ctypes.c_bool,
    },
)


class LSTM(Compiled):
    """A bidirectional LSTM, each direction by itself.

    Arguments
    ---------
    layer : torch.nn.LSTM
        One layer, bidirectional, with biases.
    dtype : torch.dtype
        Of weights, inputs and outputs.

    Example
    -------
    >>> from phasen_sb.native.library import find_kind
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

    def forward(
        self, x: torch.Tensor, workers: Workers | None = None
    ) -> torch.Tensor:
        """Maps ``[T, features]`` to ``[T, 2 * units]``."""
        workers = workers or Workers(most=1)
        frames = len(x)
        y = x.new_empty(frames, 2, self.units)
        state = x.new_zeros(2, self.groups * self.GROUP)
        cells = torch.zeros(state.shape, dtype=torch.float32)
        # Pieces of each direction whose inputs are computed at once.
        together = max(1, workers.count // 2)
        count = together * max(1, round(frames / RECURRENT_FRAMES))
        bounds = [frames * piece // count for piece in range(count + 1)]

        def product(piece):
            way, start, end = piece
            return self._product(x[start:end], self.inputs[way])

        def recur(way):
            for (_, start, end), gates in computed[way]:
                place = y[start:end, way]
                arguments = _Recurrence(
                    gates.data_ptr(),
                    self.bias[way].data_ptr(),
                    self.recurrent[way].data_ptr(),
                    place.data_ptr(),
                    y.stride(0),
                    state[way].data_ptr(),
                    cells[way].data_ptr(),
                    end - start,
                    self.units,
                    way == 1,
                )
                call("phasen_recur", self.kind, arguments)

        for first in range(0, count, together):
            ranges = list(pairwise(bounds[first : first + together + 1]))
            # One direction from the start, the other from the end.
            pieces = [(0, start, end) for start, end in ranges]
            pieces += [
                (1, frames - end, frames - start) for start, end in ranges
            ]
            computed = list(
                zip(pieces, workers.map(product, pieces), strict=True)
            )
            computed = computed[:together], computed[together:]
            workers.map(recur, range(2))
        return y.flatten(1)

    def _product(self, x, weight):
        if x.dtype == torch.bfloat16:
            # Products of rows in multiples of 32 are twice as fast.
            x = F.pad(x, (0, 0, 0, -len(x) % DEPTH))
        return F.linear(x, weight)
