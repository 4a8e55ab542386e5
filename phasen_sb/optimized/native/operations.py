"""Operations on tiles, by the compiled kernels.

The counterpart of :mod:`phasen_sb.optimized.portable.operations`, with the
same names, arguments and results. Tiles are ``[F, frames, C]``, views of
memory from :func:`phasen_sb.optimized.native.operations.empty_tile`; the
frames of a bin are contiguous.
"""

import ctypes
import math

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
    find_kind,
)
from phasen_sb.optimized.memory import allocate
from phasen_sb.optimized.native.convolution import PACKS, Conv, lay_out
from phasen_sb.optimized.native.recurrent import LSTM
from phasen_sb.optimized.portable.packing import PACKED
from phasen_sb.optimized.portable.recurrent import BothDirections

#: Frames are computed in multiples of this.
GRAIN = PACKED
#: Sizes of tiles, in frames: what a layer reads fits into the second-level
#: cache, and rows fill whole blocks of AMX.
TILE_FRAMES = {
    torch.bfloat16: (96, 128),
    torch.float32: (56, 60, 64, 68, 72),
}

_Transform = declare_structure(
    "_Transform",
    {
        "x": POINTER,
        "x_bin": INT,
        "shares": POINTER,
        "taps": INT,
        "attention_bias": POINTER,
        "attention_limit": ctypes.c_float,
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
_Norm = declare_structure(
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
_Copy = declare_structure(
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
    """Allocates tiles, past whose end kernels may read.

    Example
    -------
    >>> empty_tile((257, 128, 24), torch.float32).shape
    torch.Size([257, 128, 24])
    """
    *_, bins, frames, channels = shape
    values = torch.Size(shape).numel()
    # Kernels read up to 15 rows of packed frames, or 15 bins, too many. Their
    # values do not matter, except those that zero weights multiply.
    rows = LINE * max(PACKS) * channels
    slack = max(rows, -bins % LINE * frames * channels)
    memory = allocate(values + slack + DEPTH, dtype)
    memory[values : values + DEPTH] = 0
    return memory[:values].view(shape)


class AttentionShares(nn.Module):
    """What each frame contributes to the attention of the frames around it.

    Arguments and calls are those of
    :class:`phasen_sb.optimized.portable.operations.AttentionShares`.

    Example
    -------
    >>> eye = torch.eye(2)[..., None, None]
    >>> squeeze = Conv(eye, torch.zeros(2), torch.float32, dense=False)
    >>> AttentionShares(squeeze, torch.ones(34, 9), torch.float32).count
    9
    """

    def __init__(self, squeeze: Conv, weigh: torch.Tensor, dtype: torch.dtype):
        super().__init__()
        self.squeeze = squeeze
        # A convolution of one bin, with the values of all as channels.
        self.count = weigh.shape[1]
        self.weigh = Conv(
            weigh.t()[..., None, None].contiguous(),
            torch.zeros(self.count),
            dtype,
            dense=False,
        )

    def forward(self, x: torch.Tensor, out: torch.Tensor) -> None:
        """Maps ``[F, frames, C]`` to ``[frames, shares]``."""
        bins, frames, _ = x.shape
        channels = self.squeeze.channels
        squeezed = empty_tile((frames, 1, bins * channels), x.dtype)[:, 0]
        places = squeezed.unflatten(1, (bins, channels))
        self.squeeze(x, places.transpose(0, 1))
        self.weigh(squeezed[None], out[None])


class Transform(Compiled):
    """A frequency transformation block after its squeezing layer.

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
        attention_limit: float | None = None,
    ):
        super().__init__(dtype)
        self.bins = len(transform)
        depth = DEPTH if dtype == torch.bfloat16 else 1
        padding = (0, -self.bins % depth, 0, -self.bins % LINE)
        transform = F.pad(transform, padding).to(dtype).contiguous()
        self.register_buffer("transform", transform)
        mix, keep = join.chunk(2, dim=1)
        self.register_buffer("mix", lay_out(mix.t(), dtype))
        self.register_buffer("keep", lay_out(keep.t(), dtype))
        self.register_buffer("bias", bias.float())
        self.register_buffer("attention_bias", attention_bias.float())
        self.taps = taps
        self.per_bin = per_bin
        self.attention_limit = math.inf
        if attention_limit is not None:
            self.attention_limit = attention_limit

    def forward(
        self, x: torch.Tensor, shares: torch.Tensor, out: torch.Tensor
    ) -> None:
        """Transforms ``[F, frames, C]`` into ``out``."""
        arguments = _Transform(
            x.data_ptr(),
            x.stride(0),
            shares.data_ptr(),
            self.taps,
            self.attention_bias.data_ptr(),
            self.attention_limit,
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
    """Copies a tile, which must not overlap the other."""
    _copy("phasen_copy", x, out)


def to_float24(x: torch.Tensor, out: torch.Tensor) -> None:
    """Rounds a tile of fp32 to 24-bit floats."""
    _copy("phasen_to_float24", x, out)


def from_float24(x: torch.Tensor, out: torch.Tensor) -> None:
    """Converts a tile of 24-bit floats to fp32."""
    _copy("phasen_from_float24", x, out)


def clear(out: torch.Tensor) -> None:
    """Fills a tile with zeros."""
    _copy("phasen_copy", None, out)


def _copy(name, x, out):
    bins, frames, values = out.shape
    arguments = _Copy(
        None if x is None else x.data_ptr(),
        0 if x is None else x.stride(0) * x.itemsize,
        out.data_ptr(),
        out.stride(0) * out.itemsize,
        bins,
        frames * values * out.itemsize,
    )
    call(name, find_kind(torch.float32), arguments)


def affine(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> None:
    """Scales and shifts a tile's channels, in place."""
    call("phasen_affine", *_norm(x, scale, shift))


def frame_norm(x: torch.Tensor, norm: nn.Module) -> None:
    """Normalises each frame over bins and channels, in place."""
    arguments = _norm(x, norm.weight, norm.bias)
    call("phasen_frame_norm", *arguments, norm.eps)


def moments(x: torch.Tensor) -> tuple[float, float]:
    """Computes the sum and the sum of squares of a tile."""
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
    """Makes the fastest bidirectional layer of the same weights."""
    if isinstance(layer, nn.LSTM):
        return LSTM(layer, dtype)
    return BothDirections(layer, dtype)
