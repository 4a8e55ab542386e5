"""Folding: from a trained network's modules to operations on tiles.

Batch norms become part of the convolutions before them.
"""

from typing import Any

import torch
from torch import nn

from phasen_sb.network.batch_norm import BatchNorm
from phasen_sb.network.blocks import (
    FrequencyTransformBlock,
    InformationCommunication,
    PhaseConv,
)
from phasen_sb.network.folding import fold_batch_norm
from phasen_sb.network.layers import ConvNormAct
from phasen_sb.network.neighbour_filter import NeighbourFilter
from phasen_sb.network.two_stream_block import TwoStreamBlock
from phasen_sb.optimized.kernels import choose_operations

#: A convolution or frequency transform, native or portable.
Operation = Any


class Attention(nn.Module):
    """A frequency transformation block.

    ``shares`` maps a frame to what it contributes to the attention of the
    frames around it, each of which sees ``taps`` frames; ``transform`` does
    the rest.
    """

    def __init__(self, shares: Operation, taps: int, transform: Operation):
        super().__init__()
        self.shares = shares
        self.taps = taps
        self.transform = transform


class PhaseUnit(nn.Module):
    """A convolution of the phase stream and its norm, or None."""

    def __init__(
        self, conv: Operation, norm: nn.Module | None, norm_first: bool
    ):
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.norm_first = norm_first


class Block(nn.Module):
    """A two-stream block; a gate is None where there is no exchange."""

    def __init__(
        self,
        amplitude: list[Attention | Operation],
        phase: list[PhaseUnit],
        phase_to_amplitude: Operation | None,
        amplitude_to_phase: Operation | None,
    ):
        super().__init__()
        self.amplitude = nn.ModuleList(amplitude)
        self.phase = nn.ModuleList(phase)
        self.phase_to_amplitude = phase_to_amplitude
        self.amplitude_to_phase = amplitude_to_phase


class Folding:
    """Folds modules for a precision, one method for each kind of module.

    Arguments
    ---------
    dtype : torch.dtype
        Of the weights.

    Example
    -------
    >>> block = TwoStreamBlock(24, 12, n_bins=17).eval()
    >>> folded = Folding(torch.float32).block(block)
    >>> [type(layer).__name__ for layer in folded.amplitude]
    ['Attention', 'Conv', 'Conv', 'Conv', 'Attention']
    """

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype
        self.operations = choose_operations(dtype)

    def conv(
        self,
        conv: nn.Conv2d,
        norm: BatchNorm | None = None,
        after: str = "",
        dense: bool = True,
    ) -> Operation:
        """Folds a convolution, the batch norm after it, and what follows."""
        weight, bias = fold_batch_norm(conv, norm)
        return self.operations.Conv(weight, bias, self.dtype, after, dense)

    def heads(
        self, phase: nn.Conv2d, neighbours: NeighbourFilter | None
    ) -> Operation:
        """Folds the heads of the phase stream: phase first, then taps."""
        weight, bias = phase.weight.detach(), phase.bias.detach()
        if neighbours is not None:
            weight = torch.cat([weight, neighbours.conv.weight.detach()])
            bias = torch.cat([bias, neighbours.conv.bias.detach()])
        return self.operations.Conv(weight, bias, self.dtype, "", False)

    def gate(self, exchange: InformationCommunication | None):
        """Folds an exchange between streams."""
        return exchange and self.conv(exchange.conv, after="gate")

    def attention(self, block: FrequencyTransformBlock) -> Attention:
        """Folds a frequency transformation block."""
        weight, bias = fold_batch_norm(block.weigh.conv, block.weigh.norm)
        outputs, _, taps, _ = weight.shape
        bins = block.transform.in_features
        # From (channel, bin) and (tap, bin) to the order of a row in memory.
        weight = weight[..., 0].view(outputs, -1, bins, taps)
        weight = weight.permute(2, 1, 3, 0).reshape(-1, taps * outputs)
        join, join_bias = fold_batch_norm(block.join.conv, block.join.norm)
        squeeze = self.conv(
            block.squeeze.conv, block.squeeze.norm, "relu", dense=False
        )
        return Attention(
            self.operations.AttentionShares(squeeze, weight, self.dtype),
            taps,
            self.operations.Transform(
                bias,
                taps,
                block.transform.weight.detach(),
                join[:, :, 0, 0],
                join_bias,
                block.attention == "bin",
                self.dtype,
                block.attention_limit,
            ),
        )

    def amplitude(self, layer: nn.Module) -> Attention | Operation:
        """Folds a layer of the amplitude stream."""
        if isinstance(layer, ConvNormAct):
            return self.conv(layer.conv, layer.norm, "relu")
        return self.attention(layer)

    def phase(self, unit: PhaseConv) -> PhaseUnit:
        """Folds a layer of the phase stream."""
        return PhaseUnit(self.conv(unit.conv), unit.norm, unit.norm_first)

    def block(self, block: TwoStreamBlock) -> Block:
        """Folds a two-stream block."""
        return Block(
            [self.amplitude(layer) for layer in block.amplitude],
            [self.phase(unit) for unit in block.phase or []],
            self.gate(block.phase_to_amplitude),
            self.gate(block.amplitude_to_phase),
        )
