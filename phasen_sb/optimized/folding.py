"""Folding: a trained network's modules as the weights that tiles need.

Authors
 * The phasen_sb authors 2026
"""

from typing import NamedTuple

import torch
from torch import nn

from phasen_sb.blocks import (
    FrequencyTransformBlock,
    InformationCommunication,
    PhaseConv,
    TwoStreamBlock,
)
from phasen_sb.layers import ConvNormAct
from phasen_sb.norms import BatchNorm
from phasen_sb.optimized.packing import (
    PackedConv,
    fold_batch_norm,
    pack_convolution,
)


class Pointwise(NamedTuple):
    """A 1x1 convolution: ``weight`` is ``[C_out, C_in, 1, 1]``."""

    weight: torch.Tensor
    bias: torch.Tensor


class Attention(NamedTuple):
    """A frequency transformation block.

    ``squeeze`` maps C channels to C_r; ``weigh`` maps the F * C_r values of a
    frame to what it contributes to the weights of the frames around it,
    ``[F * C_r, taps * outputs]``; ``transform`` is ``[F, F]``; ``mix`` and
    ``keep`` are the joining convolution's halves, for the transformed input
    and for the input itself.
    """

    squeeze: Pointwise
    weigh: torch.Tensor
    weigh_bias: torch.Tensor
    taps: int
    per_bin: bool
    transform: torch.Tensor
    mix: Pointwise
    keep: Pointwise


class PhaseUnit(NamedTuple):
    """A convolution of the phase stream and its norm, None without one."""

    conv: PackedConv
    norm: nn.Module | None
    norm_first: bool


class Block(NamedTuple):
    """A two-stream block; a gate is None where there is no exchange."""

    amplitude: list[Attention | PackedConv]
    phase: list[PhaseUnit]
    phase_to_amplitude: Pointwise | None
    amplitude_to_phase: Pointwise | None


class Folder:
    """Folds modules for a number of frames to a row and a precision.

    Arguments
    ---------
    pack : int
        Frames to a row.
    dtype : torch.dtype
        Of the weights.

    Example
    -------
    >>> block = TwoStreamBlock(24, 12, n_bins=17).eval()
    >>> folded = Folder(2, torch.float32).block(block)
    >>> [type(layer).__name__ for layer in folded.amplitude]
    ['Attention', 'PackedConv', 'PackedConv', 'PackedConv', 'Attention']
    """

    def __init__(self, pack: int, dtype: torch.dtype):
        self.pack = pack
        self.dtype = dtype

    def conv(
        self, conv: nn.Conv2d, norm: BatchNorm | None = None
    ) -> PackedConv:
        """A convolution, and the batch norm behind it."""
        weight, bias = fold_batch_norm(conv, norm)
        return pack_convolution(weight, bias, self.pack, self.dtype)

    def pointwise(
        self,
        conv: nn.Conv2d,
        norm: BatchNorm | None = None,
        scale: float = 1.0,
    ) -> Pointwise:
        """A 1x1 convolution, and the batch norm behind it, scaled."""
        weight, bias = fold_batch_norm(conv, norm)
        return self._as_pointwise(weight * scale, bias * scale)

    def _as_pointwise(self, weight, bias):
        return Pointwise(
            weight.to(self.dtype).contiguous(memory_format=torch.channels_last),
            bias.to(self.dtype),
        )

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
        return Attention(
            self.pointwise(block.squeeze.conv, block.squeeze.norm),
            weight.to(self.dtype),
            bias.to(self.dtype),
            taps,
            block.attention == "bin",
            block.transform.weight.detach().to(self.dtype),
            self._as_pointwise(mix, torch.zeros_like(join_bias)),
            self._as_pointwise(keep, join_bias),
        )

    def amplitude(self, layer: nn.Module) -> Attention | PackedConv:
        """A layer of the amplitude stream."""
        if isinstance(layer, ConvNormAct):
            return self.conv(layer.conv, layer.norm)
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
