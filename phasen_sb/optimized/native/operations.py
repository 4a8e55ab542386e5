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

from phasen_sb.optimized.native.library import (
    DEPTH,
    INT,
    POINTER,
    VECTOR,
    call,
    find_kind,
    structure,
)
from phasen_sb.optimized.native.recurrent import LSTM
from phasen_sb.optimized.portable.packing import PACKED, pack_kernel
from phasen_sb.optimized.portable.recurrent import BothDirections

#: Frames in a tile.
TILE_FRAMES = {
    torch.bfloat16: (96, 128, 160, 256),
    torch.float32: (64,),
}
#: Frames that a convolution may put into a row; tiles are multiples of them.
PACKS = tuple(2**n for n in range(PACKED.bit_length()))

_Convolution = structure(
    "_Convolution",
    {
        "x": POINTER,
        "x_bin": INT,
        "x_row": INT,
        "weight": POINTER,
        "kernel_bins": INT,
        "depth": INT,
        "edge": INT,
        "outputs": INT,
        "bias": POINTER,
        "y": POINTER,
        "y_bin": INT,
        "y_row": INT,
        "bins": INT,
        "rows": INT,
        "after": ctypes.c_int,
        "gated": POINTER,
        "gated_bin": INT,
        "gated_row": INT,
        "added": POINTER,
        "added_bin": INT,
        "added_row": INT,
    },
)
_Transform = structure(
    "_Transform",
    {
        "x": POINTER,
        "x_bin": INT,
        "shares": POINTER,
        "taps": INT,
        "attention_bias": POINTER,
        "per_bin": ctypes.c_bool,
        "transform": POINTER,
        "transform_row": INT,
        "mix": POINTER,
        "keep": POINTER,
        "bias": POINTER,
        "y": POINTER,
        "y_bin": INT,
        "bins": INT,
        "frames": INT,
        "channels": INT,
    },
)
_Norm = structure(
    "_Norm",
    {
        "x": POINTER,
        "x_bin": INT,
        "y": POINTER,
        "y_bin": INT,
        "bins": INT,
        "frames": INT,
        "channels": INT,
        "scale": POINTER,
        "shift": POINTER,
    },
)
_Copy = structure(
    "_Copy",
    {
        "x": POINTER,
        "x_bin": INT,
        "y": POINTER,
        "y_bin": INT,
        "bins": INT,
        "bytes": INT,
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

    Arguments and calls are those of
    :class:`phasen_sb.optimized.portable.operations.Conv`.

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
        """Convolves ``[F, frames + 2 * reach, C_in]`` into ``out``."""
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

    Arguments and calls are those of
    :class:`phasen_sb.optimized.portable.operations.AttentionShares`.

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

    Arguments and calls are those of
    :class:`phasen_sb.optimized.portable.operations.Transform`.

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
        """Transforms ``[F, frames, C]`` into ``out``."""
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
