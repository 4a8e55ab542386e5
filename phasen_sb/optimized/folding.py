"""Folding: a trained network's modules as the weights that tiles need.

Authors
 * The phasen_sb authors 2026
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.blocks import (
    FrequencyTransformBlock,
    InformationCommunication,
    PhaseConv,
    TwoStreamBlock,
)
from phasen_sb.layers import ConvNormAct
from phasen_sb.norms import BatchNorm
from phasen_sb.optimized.convolution import FusedConv
from phasen_sb.optimized.packing import (
    PackedConv,
    choose_pack,
    fold_batch_norm,
    pack_convolution,
)

#: Rows of which a CPU's tiles take products in bf16; others are half as fast.
PRODUCT_ROWS = 32


class Attention(NamedTuple):
    """A frequency transformation block.

    ``squeeze`` maps C channels to C_r; ``weigh`` maps the F * C_r values of a
    frame to what it contributes to the weights of the frames around it,
    ``[F * C_r, taps * outputs]``; ``transform`` is ``[F, rows]``, zero beyond
    F; ``mix`` and ``keep``, ``[C, C]``, are the joining convolution's halves:
    for the transformed input, with bias and ReLU, and for the input itself.
    """

    squeeze: FusedConv
    weigh: torch.Tensor
    weigh_bias: torch.Tensor
    taps: int
    per_bin: bool
    transform: torch.Tensor
    mix: FusedConv
    keep: torch.Tensor


class PhaseUnit(NamedTuple):
    """A convolution of the phase stream and its norm, None without one."""

    conv: PackedConv
    norm: nn.Module | None
    norm_first: bool


class Block(NamedTuple):
    """A two-stream block; a gate is None where there is no exchange."""

    amplitude: list[Attention | PackedConv]
    phase: list[PhaseUnit]
    phase_to_amplitude: FusedConv | None
    amplitude_to_phase: FusedConv | None


class Folder:
    """Folds modules for a precision.

    Arguments
    ---------
    dtype : torch.dtype
        Of the weights.

    Example
    -------
    >>> block = TwoStreamBlock(24, 12, n_bins=17).eval()
    >>> folded = Folder(torch.float32).block(block)
    >>> [type(layer).__name__ for layer in folded.amplitude]
    ['Attention', 'PackedConv', 'PackedConv', 'PackedConv', 'Attention']
    """

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype

    def conv(
        self,
        conv: nn.Conv2d,
        norm: BatchNorm | None = None,
        relu: bool = False,
    ) -> PackedConv:
        """A convolution, the batch norm behind it, and the ReLU."""
        weight, bias = fold_batch_norm(conv, norm)
        pack = choose_pack(conv.out_channels, self.dtype)
        return pack_convolution(weight, bias, pack, self.dtype, relu)

    def pointwise(
        self,
        conv: nn.Conv2d,
        norm: BatchNorm | None = None,
        relu: bool = False,
        scale: float = 1.0,
    ) -> FusedConv:
        """A 1x1 convolution, the batch norm behind it, and ReLU, scaled."""
        weight, bias = fold_batch_norm(conv, norm)
        return self._fused(weight * scale, bias * scale, relu)

    def _fused(self, weight, bias, relu=False):
        return FusedConv(weight.to(self.dtype), bias.to(self.dtype), relu)

    def gate(self, exchange: InformationCommunication | None):
        """The exchange between streams, for ``1 - 2 sigmoid(-2 x)``.

        That is tanh(x), several times faster on a CPU.
        """
        if exchange is None:
            return None
        return self.pointwise(exchange.conv, scale=-2.0)

    def attention(self, block: FrequencyTransformBlock) -> Attention:
        """A frequency transformation block."""
        weight, bias = fold_batch_norm(block.weigh.conv, block.weigh.norm)
        outputs, _, taps, _ = weight.shape
        bins = block.transform.in_features
        # From (channel, bin) and (tap, bin) to the order of a row in memory.
        weight = weight[..., 0].view(outputs, -1, bins, taps)
        weight = weight.permute(2, 1, 3, 0).reshape(-1, taps * outputs)
        join, join_bias = fold_batch_norm(block.join.conv, block.join.norm)
        mix, keep = join.chunk(2, dim=1)
        transform = block.transform.weight.detach().to(self.dtype)
        if self.dtype == torch.bfloat16:
            transform = F.pad(transform, (0, -bins % PRODUCT_ROWS))
        return Attention(
            self.pointwise(block.squeeze.conv, block.squeeze.norm, relu=True),
            weight.to(self.dtype),
            bias.to(self.dtype),
            taps,
            block.attention == "bin",
            transform,
            self._fused(mix, join_bias, relu=True),
            keep[:, :, 0, 0].t().to(self.dtype).contiguous(),
        )

    def amplitude(self, layer: nn.Module) -> Attention | PackedConv:
        """A layer of the amplitude stream."""
        if isinstance(layer, ConvNormAct):
            return self.conv(layer.conv, layer.norm, relu=True)
        return self.attention(layer)

    def phase(self, unit: PhaseConv) -> PhaseUnit:
        """A layer of the phase stream."""
        return PhaseUnit(self.conv(unit.conv), unit.norm, unit.norm_first)

    def block(self, block: TwoStreamBlock) -> Block:
        """A two-stream block."""
        return Block(
            [self.amplitude(layer) for layer in block.amplitude],
            [self.phase(unit) for unit in block.phase or []],
            self.gate(block.phase_to_amplitude),
            self.gate(block.amplitude_to_phase),
        )
