"""PHASEN: the two-stream network from complex spectrogram to spectrogram.

Two published readings of the paper exist; both are options of one class, see
``hparams/phasen.yaml`` and ``hparams/phasen_paper.yaml``.

Source: Yin, Luo, Xiong, Zeng, "PHASEN: A Phase-and-Harmonics-Aware Speech
Enhancement Network", AAAI 2020, https://arxiv.org/abs/1911.04697
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from phasen_sb.errors import choose
from phasen_sb.network.blocks import PhaseConv, TwoStreamBlock
from phasen_sb.network.heads import AmplitudeHead
from phasen_sb.network.initialization import INITIALIZATIONS, delta_kernel
from phasen_sb.network.layers import Conv2d, ConvNormAct
from phasen_sb.network.memory_layout import time_innermost
from phasen_sb.signals.padding import clear_padded_frames, mark_valid_frames
from phasen_sb.signals.spectra import compress, magnitude, unit_phase

PHASE_INPUTS = ("complex", "unit")


class PhasenOutput(NamedTuple):
    """What :class:`phasen_sb.PHASEN` returns.

    ``spectrogram`` and ``phase`` are ``[B, T, F, 2]`` (real, imaginary). With
    two streams ``mask`` is ``[B, T, F]``, positive; with one it is
    ``[B, T, F, 2]``, complex.
    """

    spectrogram: torch.Tensor
    mask: torch.Tensor
    phase: torch.Tensor


class PHASEN(nn.Module):
    """Maps a noisy complex spectrogram to the enhanced one.

    The output is ``|S| * M * Psi``: the noisy magnitude, times a positive
    mask from the amplitude stream, times a unit-modulus estimate of the clean
    phase from the phase stream; see ``input_share``.

    Padding has no influence: with ``lengths`` an utterance of a padded batch
    comes out as it does alone (in training mode, up to batch norm, whose
    statistics come from the valid frames of the whole batch).

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
        ``lstm`` or ``gru``, always bidirectional.
    recurrent_units : int
        Units in each direction.
    dense_units : int
        Units of the amplitude head's hidden dense layers.
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
        ``identity``: untrained, the network returns its input; ``default``:
        PyTorch's.

    Raises
    ------
    ValueError
        If an option has a value that it cannot have.

    Example
    -------
    >>> net = PHASEN(n_fft=32, amplitude_channels=4, phase_channels=3,
    ...              recurrent_units=6, dense_units=20)
    >>> out = net(torch.randn(2, 50, 17, 2))
    >>> out.spectrogram.shape, out.mask.shape, out.phase.shape
    (torch.Size([2, 50, 17, 2]), torch.Size([2, 50, 17]),
    torch.Size([2, 50, 17, 2]))
    """

    def __init__(
        self,
        n_fft: int = 512,
        amplitude_channels: int = 24,
        phase_channels: int = 12,
        blocks: int = 3,
        recurrent: str = "lstm",
        recurrent_units: int = 300,
        dense_units: int = 600,
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
        frequency_transform: bool = True,
        amplitude_to_phase: bool = True,
        phase_to_amplitude: bool = True,
        two_streams: bool = True,
        initialization: str = "identity",
    ):
        super().__init__()
        choose("initialization", initialization, INITIALIZATIONS)
        if n_fft % 2 or n_fft < 2:
            raise ValueError(f"n_fft is {n_fft}; it must be even.")
        if blocks < 1:
            raise ValueError(f"blocks is {blocks}; it must be at least 1.")
        for name, count in (
            ("amplitude_channels", amplitude_channels),
            ("recurrent_units", recurrent_units),
            ("dense_units", dense_units),
            ("attention_channels", attention_channels),
        ):
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
        self.n_bins = n_fft // 2 + 1
        self.long_skips = long_skips
        self.input_power = input_power
        self.input_share = input_share
        self.phase_input = choose("phase_input", phase_input, PHASE_INPUTS)

        self.amplitude_stem = nn.ModuleList(
            [
                ConvNormAct(2, amplitude_channels, (1, 7)),
                ConvNormAct(amplitude_channels, amplitude_channels, (7, 1)),
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
        )
        self.phase_stem = None
        self.phase_head = None
        if two_streams:
            channels = [2] + [phase_channels] * len(phase_stem_kernels)
            self.phase_stem = nn.ModuleList(
                PhaseConv(
                    channels[i],
                    channels[i + 1],
                    kernel,
                    norm="none",
                    initialization=initialization,
                )
                for i, kernel in enumerate(phase_stem_kernels)
            )
            delta = delta_kernel if initialization == "identity" else None
            self.phase_head = Conv2d(
                phase_channels, 2, (1, 1), initializer=delta
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
        visible = compress(spectrogram, self.input_power)
        x = time_innermost(visible.permute(0, 3, 1, 2))  # [B, 2, T, F]

        amplitude = x
        for layer in self.amplitude_stem:
            amplitude = layer(amplitude, valid)
        phase = self._phase_features(x, spectrogram, valid)
        amplitude_skip, phase_skip = amplitude, phase
        for i, block in enumerate(self.blocks):
            if i > 0 and self.long_skips:
                amplitude = amplitude + amplitude_skip
                phase = None if phase is None else phase + phase_skip
            amplitude, phase = block(amplitude, phase, valid)

        estimate = self.amplitude_head(amplitude, valid)
        if self.phase_head is None:
            return enhance(spectrogram, estimate, None, self.input_share)
        # fp32 from here on, whatever autocast chose above.
        phase = self.phase_head(phase).float().permute(0, 2, 3, 1)
        phase = unit_phase(phase)  # [B, T, F, 2]
        return enhance(spectrogram, estimate, phase, self.input_share)

    if TYPE_CHECKING:  # to PyTorch, calling a module returns Any
        __call__ = forward

    def _phase_features(self, x, spectrogram, valid):
        if self.phase_stem is None:
            return None
        if self.phase_input == "unit":
            x = time_innermost(unit_phase(spectrogram).permute(0, 3, 1, 2))
            x = clear_padded_frames(x, valid)
        for layer in self.phase_stem:
            x = layer(x, valid)
        return x


def check_spectrogram(spectrogram: torch.Tensor, n_bins: int) -> None:
    """Raises ValueError unless the shape is ``[B, T, n_bins, 2]``."""
    if spectrogram.dim() != 4 or spectrogram.shape[2:] != (n_bins, 2):
        raise ValueError(
            "PHASEN takes a spectrogram [batch, frames, "
            f"{n_bins}, 2], got {list(spectrogram.shape)}."
        )


def enhance(
    spectrogram: torch.Tensor,
    estimate: torch.Tensor,
    phase: torch.Tensor | None,
    input_share: float = 0.0,
) -> PhasenOutput:
    """Applies the estimates of both heads to the noisy spectrogram.

    Arguments
    ---------
    spectrogram : torch.Tensor
        Noisy complex spectrogram ``[..., T, F, 2]``.
    estimate : torch.Tensor
        The mask: with two streams ``[..., T, F]``; with one, complex,
        ``[..., T, 2 * F]``, real parts before imaginary parts.
    phase : torch.Tensor or None
        Unit-modulus phase ``[..., T, F, 2]``; None with one stream.
    input_share : float
        See :class:`phasen_sb.PHASEN`.

    Returns
    -------
    PhasenOutput
        Enhanced spectrogram, mask and phase.

    Example
    -------
    >>> spectrogram = torch.randn(1, 50, 17, 2)
    >>> one = torch.cat([torch.ones(1, 50, 17), torch.zeros(1, 50, 17)], -1)
    >>> out = enhance(spectrogram, one, None)
    >>> torch.equal(out.spectrogram, spectrogram)
    True
    """
    if phase is None:
        estimate, enhanced = _complex_product(spectrogram, estimate)
        phase = unit_phase(enhanced)
    else:
        scale = magnitude(spectrogram) * estimate  # [..., T, F]
        enhanced = scale.unsqueeze(-1) * phase
    if input_share:
        enhanced = torch.lerp(enhanced, spectrogram, input_share)
    return PhasenOutput(enhanced, estimate, phase)


def _complex_product(spectrogram, estimate):
    mask = torch.stack(estimate.chunk(2, dim=-1), dim=-1)  # [..., T, F, 2]
    real, imag = spectrogram.unbind(-1)
    mask_real, mask_imag = mask.unbind(-1)
    return mask, torch.stack(
        [
            real * mask_real - imag * mask_imag,
            real * mask_imag + imag * mask_real,
        ],
        dim=-1,
    )
