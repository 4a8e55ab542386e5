"""What tiles need, computed by the compiled kernels.

The counterpart of :mod:`phasen_sb.optimized.portable.operations`: the same
names, arguments and results. Tiles are ``[F, frames, C]``, views into memory
from :func:`empty_tile`, in which frames lie densely behind each other.

Authors
 * The phasen_sb authors 2026
"""

import ctypes

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.optimized.native.library import call, find_kind, structure
from phasen_sb.optimized.portable.packing import PACKED, pack_kernel
from phasen_sb.optimized.portable.recurrent import BothDirections

#: Frames in a tile.
TILE_FRAMES = {
    torch.bfloat16: (96, 128, 160, 256),
    torch.float32: (64,),
}
#: Frames that a convolution may put into a row; tiles are multiples of them.
PACKS = tuple(2**n for n in range(PACKED.bit_length()))
#: Floats in a vector, and rows in a tile of the CPU.
VECTOR = 16
#: bf16 values in a row of a tile: products are that deep.
DEPTH = 32
#: Frames whose gates' inputs the recurrent layer keeps, in each direction.
RECURRENT_FRAMES = 640

_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64

_Convolution = structure(
    "_Convolution",
    {
        "x": _POINTER,
        "x_bin": _INT,
        "x_row": _INT,
        "weight": _POINTER,
        "kernel_bins": _INT,
        "depth": _INT,
        "edge": _INT,
        "outputs": _INT,
        "bias": _POINTER,
        "y": _POINTER,
        "y_bin": _INT,
        "y_row": _INT,
        "bins": _INT,
        "rows": _INT,
        "after": ctypes.c_int,
        "gated": _POINTER,
        "gated_bin": _INT,
        "gated_row": _INT,
        "added": _POINTER,
        "added_bin": _INT,
        "added_row": _INT,
    },
)
_Transform = structure(
    "_Transform",
    {
        "x": _POINTER,
        "x_bin": _INT,
        "shares": _POINTER,
        "taps": _INT,
        "attention_bias": _POINTER,
        "per_bin": ctypes.c_bool,
        "transform": _POINTER,
        "transform_row": _INT,
        "mix": _POINTER,
        "keep": _POINTER,
        "bias": _POINTER,
        "y": _POINTER,
        "y_bin": _INT,
        "bins": _INT,
        "frames": _INT,
        "channels": _INT,
    },
)
_Norm = structure(
    "_Norm",
    {
        "x": _POINTER,
        "x_bin": _INT,
        "y": _POINTER,
        "y_bin": _INT,
        "bins": _INT,
        "frames": _INT,
        "channels": _INT,
        "scale": _POINTER,
        "shift": _POINTER,
    },
)
_Copy = structure(
    "_Copy",
    {
        "x": _POINTER,
        "x_bin": _INT,
        "y": _POINTER,
        "y_bin": _INT,
        "bins": _INT,
        "bytes": _INT,
    },
)
_Recurrence = structure(
    "_Recurrence",
    {
        "input": _POINTER * 2,
        "bias": _POINTER,
        "weight": _POINTER,
        "y": _POINTER * 2,
        "y_row": _INT,
        "state": _POINTER,
        "cells": _POINTER,
        "frames": _INT,
        "units": _INT,
    },
)


def empty_tile(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Memory behind whose end kernels may read.

    Example
    -------
    >>> empty_tile((257, 128, 24), torch.float32).shape
    torch.Size([257, 128, 24])
    """
    *_, bins, frames, channels = shape
    values = torch.Size(shape).numel()
    # Rows of packed frames, 15 too many; or 15 bins. What is read there does
    # not matter, but for what zero weights multiply behind the last value.
    rows = VECTOR * max(PACKS) * channels
    slack = max(rows, -bins % VECTOR * frames * channels)
    memory = torch.empty(values + slack + DEPTH, dtype=dtype)
    memory[values : values + DEPTH] = 0
    return memory[:values].view(shape)


def _right_side(matrices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Matrices ``[..., depth, columns]``, laid out for the kernels."""
    depth = DEPTH if dtype == torch.bfloat16 else 1
    *outer, rows, columns = matrices.shape
    matrices = F.pad(matrices, (0, -columns % VECTOR, 0, -rows % depth))
    if dtype == torch.bfloat16:
        pairs = matrices.unflatten(-2, (-1, 2)).transpose(-1, -2)
        matrices = pairs.reshape(matrices.shape)
    return matrices.to(dtype).contiguous()


def _edge(weight):
    """Depth at whose start the last third of the columns is zero.

    And, at the end, the first third; both even.
    """
    _, depth, columns = weight.shape
    if columns != 3 * VECTOR:
        return 0
    filled = [
        (weight[..., part] != 0).any(0).any(1).int()
        for part in (slice(-VECTOR, None), slice(VECTOR))
    ]
    edges = [int(filled[0].argmax()), int(filled[1].flip(0).argmax())]
    return min(*edges, depth // 2) // 2 * 2


class Conv:
    """A convolution of tiles.

    Arguments
    ---------
    weight : torch.Tensor
        ``[C_out, C_in, frames, bins]``, both sizes odd, fp32.
    bias : torch.Tensor
        ``[C_out]``, fp32.
    dtype : torch.dtype
        Of the tiles.
    after : str
        ``""``; ``relu``; or ``gate``: a tile is multiplied by the tanh of
        what is computed.
    dense : bool
        False for an output whose frames lie apart.

    Example
    -------
    >>> conv = Conv(torch.randn(24, 24, 5, 5), torch.randn(24), torch.float32)
    >>> conv.reach  # in frames on either side
    2
    """

    AFTER = ("", "relu", "gate")

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor,
        dtype: torch.dtype,
        after: str = "",
        dense: bool = True,
    ):
        self.channels, self.in_channels, _, self.kernel_bins = weight.shape
        packs = PACKS if dense else (1,)
        choices = [self._pack(weight, pack, dtype) for pack in packs]
        _, self.pack, self.reach, weight = min(choices, key=lambda c: c[0])
        self.edge = _edge(weight)
        self.weight = _right_side(weight, dtype)
        self.bias = bias.repeat(self.pack).float()
        self.after = self.AFTER.index(after)
        self.kind = find_kind(dtype)

    def _pack(self, weight, pack, dtype):
        """A kernel for a number of frames to a row, and its cost."""
        weight, reach = pack_kernel(weight, pack)
        # [pack * C_out, pack * C_in, bins, rows] to [bins, values, outputs].
        weight = weight.permute(2, 3, 1, 0).flatten(1, 2)
        cost = _right_side(weight, dtype).numel() / pack
        return cost, pack, reach, weight

    def __call__(
        self,
        x: torch.Tensor,
        out: torch.Tensor,
        gated: torch.Tensor | None = None,
        added: torch.Tensor | None = None,
    ) -> None:
        """Convolves ``[F, frames + 2 * reach, C_in]``.

        Arguments
        ---------
        x : torch.Tensor
            The tile and the frames around it.
        out : torch.Tensor
            ``[F, frames, C_out]``, which the result is written to.
        gated : torch.Tensor, optional
            The tile to multiply by the gate, like ``out``.
        added : torch.Tensor, optional
            A tile to add in the end, likewise.
        """
        bins, frames, _ = out.shape
        arguments = _Convolution(
            *self._place(x),
            self.weight.data_ptr(),
            self.kernel_bins,
            self.weight.shape[1],
            self.edge,
            len(self.bias),
            self.bias.data_ptr(),
            *self._place(out),
            bins,
            frames // self.pack,
            self.after,
            *self._place(gated),
            *self._place(added),
        )
        call("phasen_convolve", self.kind, arguments)

    def _place(self, tile):
        if tile is None:
            return None, 0, 0
        return tile.data_ptr(), tile.stride(0), self.pack * tile.stride(1)


class AttentionShares:
    """What each frame gives to the attention of the frames around it.

    Arguments
    ---------
    squeeze : Conv
        To few channels, C_r; its output is not dense.
    weigh : torch.Tensor
        From a frame's bins and channels to its shares, ``[F * C_r, shares]``,
        fp32.
    dtype : torch.dtype
        Of the tiles.

    Example
    -------
    >>> eye = torch.eye(2)[..., None, None]
    >>> squeeze = Conv(eye, torch.zeros(2), torch.float32, dense=False)
    >>> AttentionShares(squeeze, torch.ones(34, 9), torch.float32).count
    9
    """

    #: Frames to a thread.
    ROWS = 16

    def __init__(self, squeeze: Conv, weigh: torch.Tensor, dtype: torch.dtype):
        self.squeeze = squeeze
        # Frames in the place of bins and blocks of them, values as channels.
        self.count = weigh.shape[1]
        self.weigh = Conv(
            weigh.t()[..., None, None].contiguous(),
            torch.zeros(self.count),
            dtype,
            dense=False,
        )

    def __call__(self, x: torch.Tensor, out: torch.Tensor) -> None:
        """Maps ``[F, frames, C]`` to ``[frames, shares]``."""
        bins, frames, _ = x.shape
        channels = self.squeeze.channels
        squeezed = empty_tile((frames, 1, bins * channels), x.dtype)[:, 0]
        places = squeezed.unflatten(1, (bins, channels))
        self.squeeze(x, places.transpose(0, 1))
        whole = frames // self.ROWS * self.ROWS
        for part in (slice(0, whole), slice(whole, frames)):
            if part.start < part.stop:
                rows = min(part.stop - part.start, self.ROWS)
                self.weigh(
                    squeezed[part].unflatten(0, (-1, rows)),
                    out[part].unflatten(0, (-1, rows)),
                )


class Transform:
    """A frequency transformation block, behind its squeezing layer.

    Arguments
    ---------
    attention_bias : torch.Tensor
        Of the attention, one for each of its weights, fp32.
    taps : int
        Frames that it sees.
    transform : torch.Tensor
        ``[F, F]``, fp32.
    join : torch.Tensor
        ``[C, 2 * C]``: of the transformed input and of the input itself, fp32.
    bias : torch.Tensor
        ``[C]``, fp32.
    per_bin : bool
        Whether the attention weighs bins, not channels.
    dtype : torch.dtype
        Of the tiles.

    Example
    -------
    >>> eye = torch.eye(4)
    >>> zeros = torch.zeros(2)
    >>> Transform(zeros, 9, eye, eye[:2], zeros, False, torch.float32).bins
    4
    """

    def __init__(
        self,
        attention_bias: torch.Tensor,
        taps: int,
        transform: torch.Tensor,
        join: torch.Tensor,
        bias: torch.Tensor,
        per_bin: bool,
        dtype: torch.dtype,
    ):
        self.bins = len(transform)
        depth = DEPTH if dtype == torch.bfloat16 else 1
        padding = (0, -self.bins % depth, 0, -self.bins % VECTOR)
        self.transform = F.pad(transform, padding).to(dtype).contiguous()
        self.mix, self.keep = (
            _right_side(half.t(), dtype) for half in join.chunk(2, dim=1)
        )
        self.bias, self.attention_bias = bias.float(), attention_bias.float()
        self.taps = taps
        self.per_bin = per_bin
        self.kind = find_kind(dtype)

    def __call__(
        self, x: torch.Tensor, shares: torch.Tensor, out: torch.Tensor
    ) -> None:
        """Transforms a tile.

        Arguments
        ---------
        x : torch.Tensor
            ``[F, frames, C]``
        shares : torch.Tensor
            Of the attention, by the frames seen, ``[frames + taps - 1, taps *
            weights]``.
        out : torch.Tensor
            ``[F, frames, C]``, which the result is written to.
        """
        arguments = _Transform(
            x.data_ptr(),
            x.stride(0),
            shares.data_ptr(),
            self.taps,
            self.attention_bias.data_ptr(),
            self.per_bin,
            self.transform.data_ptr(),
            self.transform.stride(0),
            self.mix.data_ptr(),
            self.keep.data_ptr(),
            self.bias.data_ptr(),
            out.data_ptr(),
            out.stride(0),
            *out.shape,
        )
        call("phasen_transform", self.kind, arguments)


def copy(x: torch.Tensor, out: torch.Tensor) -> None:
    """Copies a tile; frames may move, but not onto themselves."""
    _copy(x.data_ptr(), x.stride(0), out)


def clear(out: torch.Tensor) -> None:
    """Fills a tile with zeros."""
    _copy(None, 0, out)


def _copy(pointer, stride, out):
    bins, frames, channels = out.shape
    size = out.itemsize
    arguments = _Copy(
        pointer,
        stride * size,
        out.data_ptr(),
        out.stride(0) * size,
        bins,
        frames * channels * size,
    )
    call("phasen_copy", 0, arguments)


def affine(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> None:
    """Scales and shifts a tile's channels, in place."""
    call("phasen_affine", *_norm(x, scale, shift))


def frame_norm(x: torch.Tensor, norm: nn.Module) -> None:
    """Normalises each frame over bins and channels, in place."""
    arguments = _norm(x, norm.weight, norm.bias)
    call("phasen_frame_norm", *arguments, norm.eps)


def moments(x: torch.Tensor) -> tuple[float, float]:
    """Sum and sum of squares of a tile."""
    result = (ctypes.c_double * 2)()
    call("phasen_moments", *_norm(x, x, x), result)
    return result[0], result[1]


def _norm(x, scale, shift):
    place = x.data_ptr(), x.stride(0)
    arguments = _Norm(
        *place, *place, *x.shape, scale.data_ptr(), shift.data_ptr()
    )
    return find_kind(x.dtype), arguments


def make_recurrent(layer: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A bidirectional layer, fast: maps ``[T, features]``."""
    if isinstance(layer, nn.LSTM):
        return LSTM(layer, dtype)
    return BothDirections(layer, dtype)


class LSTM(nn.Module):
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
        super().__init__()
        self.units = layer.hidden_size
        self.groups = -(-self.units // self.GROUP)
        self.kind = find_kind(dtype)
        ways = [
            [getattr(layer, name + way).detach() for name in _LSTM_WEIGHTS]
            for way in ("_l0", "_l0_reverse")
        ]
        self.inputs = [
            self._order(way[0]).flatten(0, 1).to(dtype) for way in ways
        ]
        recurrent = torch.stack([self._order(way[1]) for way in ways])
        recurrent = recurrent.transpose(-1, -2)
        if dtype == torch.bfloat16:
            recurrent = F.pad(recurrent, (0, 0, 0, self.units % 2))
            recurrent = recurrent.unflatten(-2, (-1, 2)).transpose(-1, -2)
        self.recurrent = recurrent.to(dtype).contiguous()
        biases = [way[2] + way[3] for way in ways]
        self.bias = torch.stack([self._order(b[:, None]) for b in biases])
        self.bias = self.bias.float().contiguous()

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
                (_POINTER * 2)(*(gate.data_ptr() for gate in gates)),
                self.bias.data_ptr(),
                self.recurrent.data_ptr(),
                (_POINTER * 2)(*(place.data_ptr() for place in places)),
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
