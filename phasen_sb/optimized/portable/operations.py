"""Operations on tiles ``[F, frames, C]``, by PyTorch on any CPU.

The counterpart of :mod:`phasen_sb.optimized.native.operations`, with the same
names, arguments and results.
"""

import sys

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.optimized.portable.convolution import FusedConv
from phasen_sb.optimized.portable.packing import choose_pack, pack_kernel
from phasen_sb.optimized.portable.recurrent import BothDirections

#: Frames are computed in multiples of this.
GRAIN = 16
#: Sizes of tiles, in frames: a tile fits into the second-level cache. They are
#: few, since a library may compile kernels for each.
TILE_FRAMES = {
    torch.bfloat16: (96, 112, 128, 144, 160),
    torch.float32: (40, 48, 56),
}
#: The bytes of an fp32 value that make a 24-bit float.
UPPER = slice(1, 4) if sys.byteorder == "little" else slice(0, 3)
#: Products in bf16 are twice as fast for multiples of so many rows.
PRODUCT_ROWS = 32


def empty_tile(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Allocates tiles.

    Example
    -------
    >>> empty_tile((257, 128, 24), torch.float32).shape
    torch.Size([257, 128, 24])
    """
    return torch.empty(shape, dtype=dtype)


class Conv(nn.Module):
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
        ``""``, ``relu`` or ``gate``: another tile is multiplied by the tanh
        of the result.
    dense : bool
        False if the frames of the output are not contiguous.

    Example
    -------
    >>> conv = Conv(torch.randn(24, 24, 5, 5), torch.randn(24), torch.float32)
    >>> conv.reach  # in frames on either side
    2
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor,
        dtype: torch.dtype,
        after: str = "",
        dense: bool = True,
    ):
        super().__init__()
        self.channels, self.in_channels = weight.shape[:2]
        self.gate = after == "gate"
        if self.gate:
            # 1 - 2 sigmoid(-2 x) is tanh(x), several times faster on a CPU.
            weight, bias = -2 * weight, -2 * bias
        is_pointwise = weight.shape[2:] == (1, 1)
        self.pack = 1 if is_pointwise else choose_pack(self.channels, dtype)
        weight, self.reach = pack_kernel(weight, self.pack)
        self.conv = FusedConv(
            weight.to(dtype), bias.repeat(self.pack).to(dtype), after == "relu"
        )

    def forward(
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
            For the result, ``[F, frames, C_out]``.
        gated : torch.Tensor, optional
            The tile to multiply by the gate, of the same shape.
        added : torch.Tensor, optional
            A tile to add in the end, of the same shape.
        """
        bins, _, channels = x.shape
        x = x.contiguous().view(bins, -1, self.pack * channels)
        y = self.conv(x).reshape(out.shape)
        if self.gate:
            torch.addcmul(gated, gated, y.sigmoid_(), value=-2, out=out)
        else:
            out.copy_(y)
        if added is not None:
            out += added


class AttentionShares(nn.Module):
    """What each frame contributes to the attention of the frames around it.

    Arguments
    ---------
    squeeze : Conv
        To few channels, C_r; not dense.
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

    def __init__(self, squeeze: Conv, weigh: torch.Tensor, dtype: torch.dtype):
        super().__init__()
        self.squeeze = squeeze
        self.count = weigh.shape[1]
        self.register_buffer("weigh", weigh.to(dtype))

    def forward(self, x: torch.Tensor, out: torch.Tensor) -> None:
        """Maps ``[F, frames, C]`` to ``[frames, shares]``."""
        bins, frames, _ = x.shape
        squeezed = x.new_empty(frames, bins, self.squeeze.channels)
        self.squeeze(x, squeezed.transpose(0, 1))
        torch.mm(squeezed.flatten(1), self.weigh, out=out)


class Transform(nn.Module):
    """A frequency transformation block after its squeezing layer.

    Attention that weighs channels is applied after the transform, with which
    it commutes, so that the input need not be copied.

    Arguments
    ---------
    attention_bias : torch.Tensor
        Of the attention weights, fp32.
    taps : int
        Frames that the attention sees.
    transform : torch.Tensor
        ``[F, F]``, fp32.
    join : torch.Tensor
        ``[C, 2 * C]``, of the transformed input and of the input, fp32.
    bias : torch.Tensor
        ``[C]``, fp32.
    per_bin : bool
        Whether the attention weighs bins, not channels.
    dtype : torch.dtype
        Of the tiles.
    attention_limit : float, optional
        The largest attention weight.

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
        super().__init__()
        self.bins = len(transform)
        self.per_bin = per_bin
        self.taps = taps
        self.attention_limit = attention_limit
        self.register_buffer("attention_bias", attention_bias.to(dtype))
        if dtype == torch.bfloat16:
            transform = F.pad(transform, (0, -self.bins % PRODUCT_ROWS))
        self.register_buffer("transform", transform.to(dtype))
        mix, keep = join.to(dtype).chunk(2, dim=1)
        self.mix = FusedConv(mix[..., None, None], bias.to(dtype), relu=True)
        self.register_buffer("keep", keep.t().contiguous())

    def forward(
        self, x: torch.Tensor, shares: torch.Tensor, out: torch.Tensor
    ) -> None:
        """Transforms a tile.

        Arguments
        ---------
        x : torch.Tensor
            ``[F, frames, C]``
        shares : torch.Tensor
            Of the frames that the attention sees, ``[frames + taps - 1, taps *
            weights]``.
        out : torch.Tensor
            For the result, ``[F, frames, C]``.
        """
        rows = self.transform.shape[1]
        _, columns, channels = x.shape
        attention = self._attend(shares, columns)
        weighed = x
        if self.per_bin:
            weighed = x * attention.t()[:, :, None]
        if rows > self.bins or not weighed.is_contiguous():
            filled = x.new_zeros(rows, columns, channels)
            filled[: self.bins] = weighed
            weighed = filled
        mixed = torch.mm(self.transform, weighed.view(rows, -1))
        mixed = mixed.view(self.bins, columns, channels)
        if not self.per_bin:
            mixed *= attention
        x = weighed[: self.bins] if not self.per_bin else x.contiguous()
        y = torch.mm(x.view(-1, channels), self.keep)
        out.copy_(self.mix.add_to(y.view(mixed.shape), mixed))

    def _attend(self, shares, frames):
        """``[frames, weights]``; the taps of a frame are on a diagonal."""
        width, weights = shares.stride(0), len(self.attention_bias)
        diagonal = shares.as_strided(
            (frames, self.taps, weights), (width, width + weights, 1)
        )
        attention = (diagonal.sum(1) + self.attention_bias).relu_()
        if self.attention_limit is not None:
            attention.clamp_(max=self.attention_limit)
        return attention


def copy(x: torch.Tensor, out: torch.Tensor) -> None:
    """Copies a tile, which must not overlap the other."""
    out.copy_(x)


def to_float24(x: torch.Tensor, out: torch.Tensor) -> None:
    """Rounds a tile of fp32 to 24-bit floats, which have 16 significant bits.

    Arguments
    ---------
    x : torch.Tensor
        ``[F, frames, C]``
    out : torch.Tensor
        For the result, ``[F, frames, 3 * C]``, in bytes.
    """
    bits = x.view(torch.int32) + 128
    out.unflatten(-1, (-1, 3)).copy_(_bytes(bits)[..., UPPER])


def from_float24(x: torch.Tensor, out: torch.Tensor) -> None:
    """Converts a tile of 24-bit floats to fp32."""
    out.zero_()
    _bytes(out)[..., UPPER] = x.unflatten(-1, (-1, 3))


def _bytes(x):
    """``[..., C]`` as ``[..., C, 4]``."""
    return x.view(torch.uint8).unflatten(-1, (-1, 4))


def clear(out: torch.Tensor) -> None:
    """Fills a tile with zeros."""
    out.zero_()


def affine(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> None:
    """Scales and shifts a tile's channels, in place."""
    # Whole rows of factors are nine times faster than broadcast ones.
    scale, shift = (
        values.to(x.dtype).expand(x.shape[1], -1).contiguous()
        for values in (scale, shift)
    )
    torch.addcmul(shift, x, scale, out=x)


def frame_norm(x: torch.Tensor, norm: nn.Module) -> None:
    """Normalises each frame over bins and channels, in place."""
    wide = x.float()
    mean = _frame_means(wide)
    variance = _frame_means(wide.square()) - mean.square()
    scale = torch.rsqrt(variance.clamp_(min=0) + norm.eps) * norm.weight
    x.copy_(torch.addcmul(norm.bias - mean * scale, wide, scale))


def _frame_means(x):
    return x.mean(0).mean(1, keepdim=True)


def moments(x: torch.Tensor) -> tuple[float, float]:
    """Computes the sum and the sum of squares of a tile."""
    x = x.float().flatten()
    return float(x.sum()), float(x.dot(x))


def make_recurrent(layer: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Makes the fastest bidirectional layer of the same weights."""
    return BothDirections(layer, dtype)
