"""FrameStep: a causal PHASEN for one frame at a time.

It computes what :meth:`phasen_sb.PHASEN.step` does for a single frame, with
fewer and smaller operations. Batch norms are part of the convolutions before
them, and an activation is ``[B, C, F]``. The frames that a kernel sees lie one
after the other on the channel axis: all convolutions are along frequency alone,
and to remember a frame is to append its channels.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.errors import UserError
from phasen_sb.network.batch_norm import BatchNorm
from phasen_sb.network.blocks import (
    FrequencyTransformBlock,
    InformationCommunication,
    PhaseConv,
)
from phasen_sb.network.folding import fold_batch_norm
from phasen_sb.network.frame_memory import FrameMemory
from phasen_sb.network.layers import ConvNormAct
from phasen_sb.network.output import enhance
from phasen_sb.network.phasen import PHASEN
from phasen_sb.network.two_stream_block import TwoStreamBlock
from phasen_sb.signals.spectra import compress, unit_phase


class FrameStep(nn.Module):
    """Enhances streams frame by frame, as a trained causal PHASEN does.

    Its operations are those that ONNX Runtime computes fast. Weights are
    copied: later training does not change them.

    Arguments
    ---------
    network : PHASEN
        A causal network.

    Raises
    ------
    phasen_sb.errors.UserError
        If the network is not causal.

    Example
    -------
    >>> sizes = {"n_fft": 32, "recurrent_units": 8, "phase_norm": "frame"}
    >>> network = PHASEN(**sizes, causal=True).eval()
    >>> step, frame = FrameStep(network), torch.randn(1, 17, 2)
    >>> with torch.inference_mode():
    ...     enhanced, states = step(frame, step.first_states())
    ...     expected, _ = network.step(frame[None])
    >>> torch.allclose(enhanced, expected.spectrogram[0], atol=1e-5)
    True
    """

    def __init__(self, network: PHASEN):
        super().__init__()
        if not network.causal:
            raise UserError(
                "The network is not causal, so that it cannot enhance frame "
                "by frame; train one with causal: True."
            )
        network = copy.deepcopy(network).eval()
        self.n_bins = network.n_bins
        self.lookahead_frames = network.lookahead_frames
        self.long_skips = network.long_skips
        self.input_power = network.input_power
        self.input_share = network.input_share
        self.phase_input = network.phase_input
        self.amplitude_stem = nn.ModuleList(
            map(_PastConv.of, network.amplitude_stem)
        )
        self.blocks = nn.ModuleList(map(_Block, network.blocks))
        head = network.amplitude_head
        self.squeeze = _PastConv.of(head.squeeze)
        self.head = head
        self.phase_stem = self.phase_head = None
        if network.phase_stem is not None:
            self.phase_stem = nn.ModuleList(map(_PhaseUnit, network.phase_stem))
            self.phase_head = _PastConv(network.phase_head)
        self.neighbour_filter = self.taps = None
        if network.neighbour_filter is not None:
            self.neighbour_filter = network.neighbour_filter
            self.taps = _PastConv(network.neighbour_filter.conv)
        self.requires_grad_(False).eval()

    def first_states(self) -> list[torch.Tensor]:
        """Returns the states of one stream that begins: zeros."""
        _, states = self(torch.zeros(1, self.n_bins, 2), None)
        return [torch.zeros_like(state) for state in states]

    def forward(
        self, frame: torch.Tensor, states: list[torch.Tensor] | None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Enhances the next frame.

        Arguments
        ---------
        frame : torch.Tensor
            ``[B, F, 2]``
        states : list of torch.Tensor or None
            What the last step returned; None if the streams begin.

        Returns
        -------
        enhanced : torch.Tensor
            ``[B, F, 2]``, ``lookahead_frames`` behind.
        states : list of torch.Tensor
            For the next frame.
        """
        memory = FrameMemory(states)
        delayed = frame
        if self.lookahead_frames:
            delayed = memory.prepend(frame[:, None], self.lookahead_frames, 1)
            delayed = delayed[:, 0]
        visible = compress(frame, self.input_power).transpose(1, 2)
        amplitude = visible
        for layer in self.amplitude_stem:
            amplitude = layer(amplitude, memory)
        phase = None
        if self.phase_stem is not None:
            phase = visible
            if self.phase_input == "unit":
                phase = unit_phase(frame).transpose(1, 2)
            for layer in self.phase_stem:
                phase = layer(phase, memory)
        amplitude_skip, phase_skip = amplitude, phase
        for i, block in enumerate(self.blocks):
            if i > 0 and self.long_skips:
                amplitude = amplitude + amplitude_skip
                phase = None if phase is None else phase + phase_skip
            amplitude, phase = block(amplitude, phase, memory)
        mask = self._estimate_mask(amplitude, memory)
        added = None
        if self.taps is not None:
            taps = self.taps(phase).transpose(1, 2)[:, None]
            added = self.neighbour_filter.apply_taps(
                taps, delayed[:, None], memory
            )[:, 0]
        if phase is not None:
            phase = unit_phase(self.phase_head(phase).transpose(1, 2))
        output = enhance(delayed, mask, phase, self.input_share, added)
        return output.spectrogram, memory.after

    def _estimate_mask(self, amplitude, memory):
        x = self.squeeze(amplitude).transpose(1, 2).flatten(1)
        return self.head.estimate(x[:, None], memory=memory)[:, 0]


class _PastConv(nn.Module):
    """A convolution over the newest frames, and what follows it."""

    def __init__(
        self,
        conv: nn.Conv2d,
        norm: BatchNorm | None = None,
        activation: nn.Module | None = None,
    ):
        super().__init__()
        weight, bias = fold_batch_norm(conv, norm)
        self.channels = conv.in_channels
        self.before = conv.kernel_size[0] - 1
        self.padding = conv.padding[1]
        # [C_out, C_in, T, F] to [C_out, T * C_in, F]
        weight = weight.transpose(1, 2).flatten(1, 2).contiguous()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.activation = activation or nn.Identity()

    @classmethod
    def of(cls, unit: ConvNormAct) -> "_PastConv":
        return cls(unit.conv, unit.norm, nn.ReLU())

    def forward(self, x, memory=None):
        """Maps ``[B, C_in, F]`` to ``[B, C_out, F]``."""
        if self.before:
            x = memory.prepend(x, self.before * self.channels, dim=1)
        out = F.conv1d(x, self.weight, self.bias, padding=self.padding)
        return self.activation(out)


class _FrequencyTransform(nn.Module):
    """A frequency transformation block."""

    def __init__(self, block: FrequencyTransformBlock):
        super().__init__()
        self.squeeze = _PastConv.of(block.squeeze)
        conv = block.weigh.conv
        weight, bias = fold_batch_norm(conv, block.weigh.norm)
        self.values = conv.in_channels
        self.before = conv.kernel_size[0] - 1
        weight = weight[..., 0].permute(2, 1, 0).flatten(0, 1).contiguous()
        self.register_buffer("weight", weight)  # [T * C_r * F, outputs]
        self.register_buffer("bias", bias)
        transform = block.transform.weight.detach().t().contiguous()
        self.register_buffer("transform", transform)
        self.limit = block.attention_limit
        self.over_bins = block.attention == "bin"
        self.join = _PastConv.of(block.join)

    def forward(self, x, memory):
        """Maps ``[B, C, F]`` to the same shape."""
        squeezed = self.squeeze(x).flatten(1)
        seen = memory.prepend(squeezed, self.before * self.values, dim=1)
        weights = torch.addmm(self.bias, seen, self.weight)
        weights = weights.clamp(0, self.limit)
        weights = weights.unsqueeze(1 if self.over_bins else 2)
        mixed = (x * weights) @ self.transform
        return self.join(torch.cat([mixed, x], 1))


class _PhaseUnit(nn.Module):
    """A convolution of the phase stream and its norm."""

    def __init__(self, unit: PhaseConv):
        super().__init__()
        self.conv = _PastConv(unit.conv)
        self.norm = unit.norm
        self.norm_first = unit.norm_first

    def forward(self, x, memory):
        """Maps ``[B, C_in, F]`` to ``[B, C_out, F]``."""
        if self.norm_first:
            return self.conv(self._normalize(x), memory)
        return self._normalize(self.conv(x, memory))

    def _normalize(self, x):
        if self.norm is None:
            return x
        weight, bias = (
            values[:, None].expand(x.shape[1:])
            for values in (self.norm.weight, self.norm.bias)
        )
        return F.layer_norm(x, x.shape[1:], weight, bias, self.norm.eps)


class _Block(nn.Module):
    """A two-stream block."""

    def __init__(self, block: TwoStreamBlock):
        super().__init__()
        self.amplitude = nn.ModuleList(
            _PastConv.of(layer)
            if isinstance(layer, ConvNormAct)
            else _FrequencyTransform(layer)
            for layer in block.amplitude
        )
        self.phase = nn.ModuleList(map(_PhaseUnit, block.phase or []))
        self.phase_to_amplitude = _gate(block.phase_to_amplitude)
        self.amplitude_to_phase = _gate(block.amplitude_to_phase)

    def forward(self, amplitude, phase, memory):
        """Maps both streams, ``[B, C, F]``; the phase may be None."""
        for layer in self.amplitude:
            amplitude = layer(amplitude, memory)
        for layer in self.phase:
            phase = layer(phase, memory)
        before = amplitude, phase
        if self.phase_to_amplitude is not None:
            amplitude = amplitude * self.phase_to_amplitude(before[1])
        if self.amplitude_to_phase is not None:
            phase = phase * self.amplitude_to_phase(before[0])
        return amplitude, phase


def _gate(exchange: InformationCommunication | None):
    return exchange and _PastConv(exchange.conv, activation=nn.Tanh())
