"""PHASEN: the two-stream network from complex spectrogram to spectrogram.

Two published readings of the paper exist; both are options of one class, see
``hparams/phasen.yaml`` and ``hparams/phasen_paper.yaml``.

Source: Yin, Luo, Xiong, Zeng, "PHASEN: A Phase-and-Harmonics-Aware Speech
Enhancement Network", AAAI 2020, https://arxiv.org/abs/1911.04697
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.errors import UserError, choose
from phasen_sb.network.blocks import PhaseConv
from phasen_sb.network.frame_memory import FrameMemory
from phasen_sb.network.heads import AmplitudeHead
from phasen_sb.network.initialization import (
    INITIALIZATIONS,
    delta_kernel,
    share_delay,
)
from phasen_sb.network.layers import Conv2d, ConvNormAct
from phasen_sb.network.memory_layout import time_innermost
from phasen_sb.network.neighbour_filter import NeighbourFilter
from phasen_sb.network.output import PhasenOutput, check_spectrogram, enhance
from phasen_sb.network.two_stream_block import TwoStreamBlock
from phasen_sb.signals.padding import clear_padded_frames, mark_valid_frames
from phasen_sb.signals.spectra import compress, unit_phase

PHASE_INPUTS = ("complex", "unit")


class PHASEN(nn.Module):
    """Maps a noisy complex spectrogram to the enhanced one.

    The output is ``|S| * M * Psi``: the noisy magnitude, times a positive
    mask from the amplitude stream, times a unit-modulus estimate of the clean
    phase from the phase stream; see ``input_share``.

    Padding has no influence: with ``lengths`` an utterance of a padded batch
    comes out as it does alone (in training mode, up to batch norm, whose
    statistics come from the valid frames of the whole batch).

    A causal network sees the past alone: each time kernel ends at the newest
    frame, the recurrence runs forward, norms are those of a frame. With
    ``lookahead_frames`` n, the network runs n frames behind: what it says of
    frame t it says when frame t + n has come, so each layer has seen that
    frame, and no later one. :meth:`step` computes it frame by frame.

    Arguments
    ---------
    n_fft : int
        FFT size; the network sees F = n_fft / 2 + 1 bins.
    amplitude_channels : int
        C_A.
    phase_channels : int
        C_P, at least 2.
    blocks : int
        Two-stream blocks.
    recurrent : str
        ``lstm`` or ``gru``, bidirectional unless causal.
    recurrent_units : int, optional
        Units in each direction; 300 by default, with ``band_bins`` 32.
    dense_units : int, optional
        Units of the amplitude head's hidden dense layers, 600 by default; with
        ``band_bins``, values of a band between recurrent layers, 32 by default.
    long_skips : bool
        Add the stems' outputs to both streams before each later block.
    attention : str
        Attention of the FTBs: ``channel`` or ``bin``.
    attention_channels : int
        C_r.
    phase_stem_kernels : list of tuple of int
        The phase stem's kernels, (time, frequency).
    phase_kernels : list of tuple of int
        The phase kernels of a block, (time, frequency).
    phase_norm : str
        ``global``, ``global_unbiased``, ``frame`` or ``none``, see
        :class:`phasen_sb.PhaseConv`.
    phase_norm_first : bool
        Normalise before each phase convolution of a block, not after it.
    input_power : float
        Magnitudes are raised to this power before the network sees them;
        the mask still multiplies the magnitude itself. 1: as they are.
    phase_input : str
        What the phase stream sees: the ``complex`` spectrogram or, modulus
        removed, its ``unit`` phase.
    mask_activation : str
        ``sigmoid`` or ``softplus`` (masks above one).
    input_share : float
        Share of the input in the output; the paper has none. With 0.002 the
        noise is 54 dB down, and weak high frequencies of speech that the mask
        takes for noise do not vanish, which raises CSIG.
    filter_kernel : tuple of int, optional
        (frames, bins) of a complex filter of the noisy spectrogram, see
        :class:`phasen_sb.network.neighbour_filter.NeighbourFilter`. The paper
        has none. It needs two streams.
    frequency_transform : bool
        Ablation: False replaces the FTBs by 5x5 convolutions.
    amplitude_to_phase : bool
        Ablation: False removes that direction of the exchange.
    phase_to_amplitude : bool
        Ablation: False removes that direction of the exchange.
    two_streams : bool
        Ablation: False leaves the amplitude stream alone, which then predicts
        a complex mask.
    initialization : str
        ``identity``: untrained, the network returns its input; ``steady``:
        and its attention is nearly constant; ``default``: PyTorch's.
    causal : bool
        Whether no layer sees later frames than ``lookahead_frames`` allow.
    lookahead_frames : int
        Frames after the one that is enhanced which a causal network sees.
    band_bins : int, optional
        Bins of a band. The mask then comes from recurrence over time in each
        band and over bands in each frame, whose weights all bands share (see
        :class:`phasen_sb.network.band_recurrence.BandRecurrence`), instead of
        one layer over all bins, as the paper has it.
    attention_limit : float, optional
        See :class:`phasen_sb.FrequencyTransformBlock`.

    Raises
    ------
    ValueError
        If an option has a value that it cannot have.

    Example
    -------
    >>> net = PHASEN(n_fft=32, amplitude_channels=4, phase_channels=3,
    ...              recurrent_units=6, dense_units=20)
    >>> out = net(torch.randn(2, 50, 17, 2))
    >>> out.spectrogram.shape, out.mask.shape
    (torch.Size([2, 50, 17, 2]), torch.Size([2, 50, 17]))
    """

    causal: bool = False
    lookahead_frames: int = 0
    attention_limit: float | None = None

    def __init__(
        self,
        n_fft: int = 512,
        amplitude_channels: int = 24,
        phase_channels: int = 12,
        blocks: int = 3,
        recurrent: str = "lstm",
        recurrent_units: int | None = None,
        dense_units: int | None = None,
        long_skips: bool = True,
        attention: str = "channel",
        attention_channels: int = 5,
        phase_stem_kernels: Sequence[Sequence[int]] = ((5, 3), (25, 3)),
        phase_kernels: Sequence[Sequence[int]] = ((5, 5), (25, 1)),
        phase_norm: str = "global",
        phase_norm_first: bool = False,
        input_power: float = 1.0,
        phase_input: str = "complex",
        mask_activation: str = "sigmoid",
        input_share: float = 0.0,
        filter_kernel: Sequence[int] | None = None,
        frequency_transform: bool = True,
        amplitude_to_phase: bool = True,
        phase_to_amplitude: bool = True,
        two_streams: bool = True,
        initialization: str = "identity",
        causal: bool = False,
        lookahead_frames: int = 0,
        band_bins: int | None = None,
        attention_limit: float | None = None,
    ):
        super().__init__()
        choose("initialization", initialization, INITIALIZATIONS)
        # All bands pass through the same layers, so that these are small.
        if recurrent_units is None:
            recurrent_units = 300 if band_bins is None else 32
        if dense_units is None:
            dense_units = 600 if band_bins is None else 32
        if n_fft % 2 or n_fft < 2:
            raise ValueError(f"n_fft is {n_fft}; it must be even.")
        for name, count in {
            "blocks": blocks,
            "amplitude_channels": amplitude_channels,
            "recurrent_units": recurrent_units,
            "dense_units": dense_units,
            "attention_channels": attention_channels,
        }.items():
            if count < 1:
                raise ValueError(f"{name} is {count}; it must be at least 1.")
        if phase_channels < 2:
            raise ValueError(
                f"phase_channels is {phase_channels}; a complex phase needs "
                "at least 2."
            )
        if not 0 <= input_share < 1:
            raise ValueError(
                f"input_share is {input_share}; it must be from 0 to below 1."
            )
        delays = share_delay(lookahead_frames, phase_stem_kernels, causal)
        self.causal = causal
        self.lookahead_frames = lookahead_frames
        self.n_bins = n_fft // 2 + 1
        self.long_skips = long_skips
        self.attention_limit = attention_limit
        self.input_power = input_power
        self.input_share = input_share
        self.phase_input = choose("phase_input", phase_input, PHASE_INPUTS)

        self.amplitude_stem = nn.ModuleList(
            [
                ConvNormAct(2, amplitude_channels, (1, 7)),
                ConvNormAct(
                    amplitude_channels,
                    amplitude_channels,
                    (7, 1),
                    causal=causal,
                ),
            ]
        )
        self.blocks = nn.ModuleList(
            TwoStreamBlock(
                amplitude_channels,
                phase_channels if two_streams else None,
                self.n_bins,
                phase_kernels,
                phase_norm,
                phase_norm_first,
                attention,
                attention_channels,
                frequency_transform,
                amplitude_to_phase,
                phase_to_amplitude,
                initialization,
                causal,
                attention_limit,
            )
            for _ in range(blocks)
        )
        self.amplitude_head = AmplitudeHead(
            amplitude_channels,
            self.n_bins,
            outputs=self.n_bins if two_streams else 2 * self.n_bins,
            recurrent=recurrent,
            recurrent_units=recurrent_units,
            dense_units=dense_units,
            activation=mask_activation if two_streams else None,
            initialization=initialization,
            causal=causal,
            band_bins=band_bins,
        )
        self.phase_stem = None
        self.phase_head = None
        if two_streams:
            channels = [2] + [phase_channels] * len(phase_stem_kernels)
            self.phase_stem = nn.ModuleList(
                PhaseConv(
                    *sizes,
                    kernel,
                    norm="none",
                    initialization=initialization,
                    causal=causal,
                    delay=delay,
                )
                for sizes, kernel, delay in zip(
                    pairwise(channels), phase_stem_kernels, delays, strict=True
                )
            )
            delta = None if initialization == "default" else delta_kernel
            self.phase_head = Conv2d(
                phase_channels, 2, (1, 1), initializer=delta
            )
        self.neighbour_filter = NeighbourFilter.make(
            phase_channels if two_streams else None, filter_kernel, causal
        )

    def phase_stream_parameters(self) -> Iterator[nn.Parameter]:
        """The weights that shape the phase alone."""
        if self.phase_stem is None:
            return
        yield from self.phase_stem.parameters()
        yield from self.phase_head.parameters()
        for block in self.blocks:
            yield from block.phase.parameters()
            if block.amplitude_to_phase is not None:
                yield from block.amplitude_to_phase.parameters()

    def forward(
        self, spectrogram: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> PhasenOutput:
        """Enhances a batch of spectrograms.

        Arguments
        ---------
        spectrogram : torch.Tensor
            Noisy complex spectrogram ``[B, T, F, 2]`` (real, imaginary), as
            SpeechBrain's STFT gives it.
        lengths : torch.Tensor, optional
            Relative lengths, in frames, ``[B]``. Padded frames come out zero.

        Returns
        -------
        PhasenOutput
            Enhanced spectrogram, mask and phase, in fp32.

        Raises
        ------
        ValueError
            If the shape does not end in ``(n_fft / 2 + 1, 2)``.
        """
        check_spectrogram(spectrogram, self.n_bins)
        valid = mark_valid_frames(
            lengths, spectrogram.shape[1], spectrogram.device
        )
        if valid is not None:
            spectrogram = spectrogram * valid.transpose(1, 2)
        seen, late = spectrogram, self.lookahead_frames
        if late:  # silence after the end
            seen = F.pad(seen, (0, 0, 0, 0, 0, late))
            if valid is not None:
                valid = F.pad(valid, (0, 0, late, 0), value=1.0)
        estimates = self._estimate(seen, valid)
        if late:
            estimates = [x if x is None else x[:, late:] for x in estimates]
        return self._enhance(spectrogram, *estimates)

    if TYPE_CHECKING:  # to PyTorch, calling a module returns Any
        __call__ = forward

    def step(
        self,
        spectrogram: torch.Tensor,
        states: Sequence[torch.Tensor] | None = None,
    ) -> tuple[PhasenOutput, list[torch.Tensor]]:
        """Enhances the next frames of a batch of streams.

        Step by step, a causal network in evaluation mode returns what
        :meth:`forward` does for all frames at once, ``lookahead_frames``
        later: the first frames of a stream are zero, and so many frames of
        zeros after its end bring its last ones out.

        Arguments
        ---------
        spectrogram : torch.Tensor
            The next frames, ``[B, T, F, 2]``.
        states : list of torch.Tensor, optional
            What the last step returned; by default the streams begin. Their
            number and their shapes are always the same.

        Returns
        -------
        output : PhasenOutput
            As of :meth:`forward`, of T frames.
        states : list of torch.Tensor
            For the next step.

        Raises
        ------
        phasen_sb.errors.UserError
            If the network is not causal, or in training mode.
        """
        if not self.causal or self.training:
            raise UserError(
                "Only a causal network in evaluation mode enhances step by "
                "step; build it with causal: True, and call eval()."
            )
        check_spectrogram(spectrogram, self.n_bins)
        memory = FrameMemory(states)
        delayed = spectrogram
        if self.lookahead_frames:
            delayed = memory.prepend(spectrogram, self.lookahead_frames, dim=1)
            delayed = delayed[:, : spectrogram.shape[1]]
        estimates = self._estimate(spectrogram, None, memory)
        output = self._enhance(delayed, *estimates, memory)
        return output, memory.after

    def _enhance(self, spectrogram, mask, phase, taps, memory=None):
        added = None
        if taps is not None:
            added = self.neighbour_filter.apply_taps(taps, spectrogram, memory)
        return enhance(spectrogram, mask, phase, self.input_share, added)

    def _estimate(self, spectrogram, valid, memory=None):
        """Mask, phase and taps, ``lookahead_frames`` behind the spectrogram."""
        visible = compress(spectrogram, self.input_power)
        x = time_innermost(visible.permute(0, 3, 1, 2))  # [B, 2, T, F]
        amplitude = x
        for layer in self.amplitude_stem:
            amplitude = layer(amplitude, valid, memory)
        phase = self._phase_features(x, spectrogram, valid, memory)
        amplitude_skip, phase_skip = amplitude, phase
        for i, block in enumerate(self.blocks):
            if i > 0 and self.long_skips:
                amplitude = amplitude + amplitude_skip
                phase = None if phase is None else phase + phase_skip
            amplitude, phase = block(amplitude, phase, valid, memory)

        mask = self.amplitude_head(amplitude, valid, memory)
        if self.phase_head is None:
            return mask, None, None
        taps = None
        if self.neighbour_filter is not None:
            taps = self.neighbour_filter(phase)
        # fp32 from here on, whatever autocast chose above.
        phase = self.phase_head(phase).float().permute(0, 2, 3, 1)
        return mask, unit_phase(phase), taps  # [B, T, F, 2]

    def _phase_features(self, x, spectrogram, valid, memory):
        if self.phase_stem is None:
            return None
        if self.phase_input == "unit":
            x = time_innermost(unit_phase(spectrogram).permute(0, 3, 1, 2))
            x = clear_padded_frames(x, valid)
        for layer in self.phase_stem:
            x = layer(x, valid, memory)
        return x
