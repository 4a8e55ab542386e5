"""The blocks of PHASEN, which other networks can use, too.

All work on ``[B, C, T, F]`` (batch, channel, frame, frequency bin) and
optionally take which frames are ``valid``
(:func:`phasen_sb.signals.padding.mark_valid_frames`): then padded frames stay
zero and influence nothing.

Source: Yin, Luo, Xiong, Zeng, "PHASEN: A Phase-and-Harmonics-Aware Speech
Enhancement Network", AAAI 2020, https://arxiv.org/abs/1911.04697
"""

from collections.abc import Sequence

import torch
from torch import nn

from phasen_sb.errors import choose
from phasen_sb.network.gate import gate
from phasen_sb.network.initialization import delta_kernel, open_gate
from phasen_sb.network.layers import (
    Conv2d,
    ConvNormAct,
    FrameConv,
    JointConv,
    Linear,
)
from phasen_sb.network.norms import FrameLayerNorm, GlobalLayerNorm
from phasen_sb.signals.padding import clear_padded_frames

ATTENTIONS = ("channel", "bin")


class FrequencyTransformBlock(nn.Module):
    """FTB: every frequency bin sees every other, to capture harmonics.

    Paper, section "Frequency Transformation Block": a time-frequency
    attention weighs the input, a trainable matrix mixes all bins of a frame,
    and a 1x1 convolution joins the result with the input.

    Arguments
    ---------
    channels : int
        Input and output channels, C_A.
    n_bins : int
        Frequency bins, F.
    attention_channels : int
        Channels of the attention's bottleneck, C_r.
    attention : str
        ``channel``: one weight per channel and frame; ``bin``: one per frame
        and frequency bin.
    attention_kernel : int
        Frames that the attention's convolution spans, odd.

    Raises
    ------
    phasen_sb.errors.UserError
        If ``attention`` is unknown.

    Example
    -------
    >>> ftb = FrequencyTransformBlock(channels=8, n_bins=257)
    >>> ftb(torch.rand(2, 8, 50, 257)).shape
    torch.Size([2, 8, 50, 257])
    """

    def __init__(
        self,
        channels: int,
        n_bins: int = 257,
        attention_channels: int = 5,
        attention: str = "channel",
        attention_kernel: int = 9,
    ):
        super().__init__()
        self.attention = choose("attention", attention, ATTENTIONS)
        self.squeeze = ConvNormAct(
            channels, attention_channels, (1, 1), folded=True
        )
        # A convolution over time alone: the folded (channel, bin) axis is its
        # channel axis, channel * F + bin.
        self.weigh = ConvNormAct(
            attention_channels * n_bins,
            channels if attention == "channel" else n_bins,
            (attention_kernel, 1),
            FrameConv,
        )
        self.transform = Linear(n_bins, n_bins, bias=False)
        self.join = ConvNormAct(2 * channels, channels, (1, 1), JointConv)

    def forward(
        self, x: torch.Tensor, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Transforms the amplitude stream.

        Arguments
        ---------
        x : torch.Tensor
            ``[B, C, T, F]``, zero on padded frames.
        valid : torch.Tensor, optional
            ``[B, 1, T, 1]``: 1.0 on valid frames, 0.0 on padded ones.

        Returns
        -------
        torch.Tensor
            ``[B, C, T, F]``
        """
        squeezed = self.squeeze(x, valid)  # [B, C_r, T, F]
        folded = squeezed.permute(0, 2, 1, 3).flatten(2)  # [B, T, C_r*F]
        weights = self.weigh(folded.transpose(1, 2).unsqueeze(3), valid)
        if self.attention == "bin":
            weights = weights.transpose(1, 3)  # [B, 1, T, F]
        return self.join((self._mix(x * weights), x), valid)

    def _mix(self, x):
        """Mixes the bins of each frame, all ``[B, C, T, F]``."""
        # As a left product, in the order in which the data lies in memory.
        if torch.compiler.is_compiling():  # see swap_axes
            x = torch.matmul(self.transform.weight, x.permute(0, 2, 3, 1))
            return x.permute(0, 3, 1, 2)
        x = x.permute(0, 3, 2, 1)  # [B, F, T, C]
        transform = self.transform.weight.expand(x.shape[0], -1, -1)
        mixed = torch.bmm(transform, x.flatten(2))
        return mixed.view_as(x).permute(0, 3, 2, 1)


class InformationCommunication(nn.Module):
    """Gates one stream by the other: ``target * tanh(conv1x1(source))``.

    Paper, section "Information Communication". There are two of them, one in
    each direction; both read the streams as they were before the exchange.

    Arguments
    ---------
    source_channels : int
        Channels of the stream that informs.
    target_channels : int
        Channels of the stream that is gated.
    initialization : str
        ``identity``: the gate starts open; ``default``: PyTorch's.

    Example
    -------
    >>> gate = InformationCommunication(12, 24)
    >>> gate(torch.rand(2, 12, 50, 17), torch.rand(2, 24, 50, 17)).shape
    torch.Size([2, 24, 50, 17])
    """

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        initialization: str = "default",
    ):
        super().__init__()
        self.conv = Conv2d(
            source_channels,
            target_channels,
            (1, 1),
            initializer=open_gate if initialization == "identity" else None,
        )

    def forward(
        self, source: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """Gates ``target`` (``[B, C_t, T, F]``) by ``source`` (``C_s``)."""
        return gate(target, self.conv(source), self.training)


class PhaseConv(nn.Module):
    """Convolution and layer norm of the phase stream, without activation.

    Arguments
    ---------
    in_channels : int
        Input channels.
    out_channels : int
        Output channels.
    kernel_size : tuple of int
        Kernel as (time, frequency), both odd.
    norm : str
        ``global``: over channel, time and frequency; ``global_unbiased``: the
        same with the reference code's n - 1 variance; ``frame``: over channel
        and frequency of each frame; ``none``.
    norm_first : bool
        Normalise before the convolution instead of after it.
    initialization : str
        ``identity``: two channels pass; ``default``: PyTorch's.

    Raises
    ------
    phasen_sb.errors.UserError
        If ``norm`` is unknown.

    Example
    -------
    >>> unit = PhaseConv(2, 12, (5, 3), norm_first=True)
    >>> unit(torch.randn(2, 2, 50, 17)).shape
    torch.Size([2, 12, 50, 17])
    """

    NORMS = ("global", "global_unbiased", "frame", "none")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        norm: str = "global",
        norm_first: bool = False,
        initialization: str = "default",
    ):
        super().__init__()
        choose("phase_norm", norm, self.NORMS)
        self.norm_first = norm_first
        self.conv = Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            initializer=delta_kernel if initialization == "identity" else None,
        )
        normed = in_channels if norm_first else out_channels
        if norm == "frame":
            self.norm = FrameLayerNorm(normed)
        elif norm == "none":
            self.norm = None
        else:
            # The public reference code pairs the n - 1 variance with a tiny
            # eps; its weights give its results only with both.
            unbiased = norm == "global_unbiased"
            eps = 1e-12 if unbiased else 1e-8
            self.norm = GlobalLayerNorm(normed, eps, unbiased)

    def forward(
        self, x: torch.Tensor, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Maps ``[B, C_in, T, F]`` to ``[B, C_out, T, F]``.

        Both are zero on padded frames, where ``valid`` (``[B, 1, T, 1]``) is.
        """
        if self.norm is not None and self.norm_first:
            x = self.norm(x, valid)
        x = clear_padded_frames(self.conv(x), valid)
        if self.norm is not None and not self.norm_first:
            x = self.norm(x, valid)
        return x


class TwoStreamBlock(nn.Module):
    """TSB: a block of both streams, which exchange information at its end.

    The amplitude stream has convolutions between two FTBs, the phase stream
    convolutions alone.

    Arguments
    ---------
    amplitude_channels : int
        C_A.
    phase_channels : int or None
        C_P; None builds the amplitude stream alone.
    n_bins : int
        Frequency bins, F.
    phase_kernels : list of tuple of int
        Kernels of the phase stream's convolutions, (time, frequency).
    phase_norm : str
        See :class:`phasen_sb.PhaseConv`.
    phase_norm_first : bool
        See :class:`phasen_sb.PhaseConv`.
    attention : str
        See :class:`phasen_sb.FrequencyTransformBlock`.
    attention_channels : int
        See :class:`phasen_sb.FrequencyTransformBlock`.
    frequency_transform : bool
        False replaces each FTB by a 5x5 convolution.
    amplitude_to_phase : bool
        Whether the amplitude stream gates the phase stream.
    phase_to_amplitude : bool
        Whether the phase stream gates the amplitude stream.
    initialization : str
        ``identity`` or ``default``.

    Example
    -------
    >>> block = TwoStreamBlock(8, 4, n_bins=17)
    >>> a, p = block(torch.rand(2, 8, 50, 17), torch.randn(2, 4, 50, 17))
    >>> a.shape, p.shape
    (torch.Size([2, 8, 50, 17]), torch.Size([2, 4, 50, 17]))
    """

    def __init__(
        self,
        amplitude_channels: int,
        phase_channels: int | None,
        n_bins: int = 257,
        phase_kernels: Sequence[Sequence[int]] = ((5, 5), (25, 1)),
        phase_norm: str = "global",
        phase_norm_first: bool = False,
        attention: str = "channel",
        attention_channels: int = 5,
        frequency_transform: bool = True,
        amplitude_to_phase: bool = True,
        phase_to_amplitude: bool = True,
        initialization: str = "default",
    ):
        super().__init__()

        def frequency_block():
            if not frequency_transform:
                return ConvNormAct(
                    amplitude_channels, amplitude_channels, (5, 5)
                )
            return FrequencyTransformBlock(
                amplitude_channels, n_bins, attention_channels, attention
            )

        self.amplitude = nn.ModuleList([frequency_block()])
        for kernel in ((5, 5), (25, 1), (5, 5)):
            self.amplitude.append(
                ConvNormAct(amplitude_channels, amplitude_channels, kernel)
            )
        self.amplitude.append(frequency_block())
        self.phase = None
        self.phase_to_amplitude = None
        self.amplitude_to_phase = None
        if phase_channels is None:
            return
        self.phase = nn.ModuleList(
            PhaseConv(
                phase_channels,
                phase_channels,
                kernel,
                phase_norm,
                phase_norm_first,
                initialization,
            )
            for kernel in phase_kernels
        )
        if phase_to_amplitude:
            self.phase_to_amplitude = InformationCommunication(
                phase_channels, amplitude_channels, initialization
            )
        if amplitude_to_phase:
            self.amplitude_to_phase = InformationCommunication(
                amplitude_channels, phase_channels, initialization
            )

    def forward(
        self,
        amplitude: torch.Tensor,
        phase: torch.Tensor | None,
        valid: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Transforms both streams.

        Arguments
        ---------
        amplitude : torch.Tensor
            ``[B, C_A, T, F]``, zero on padded frames.
        phase : torch.Tensor or None
            ``[B, C_P, T, F]``, zero on padded frames; None with one stream.
        valid : torch.Tensor, optional
            ``[B, 1, T, 1]``: 1.0 on valid frames, 0.0 on padded ones.

        Returns
        -------
        amplitude : torch.Tensor
            ``[B, C_A, T, F]``
        phase : torch.Tensor or None
            ``[B, C_P, T, F]``
        """
        for layer in self.amplitude:
            amplitude = layer(amplitude, valid)
        if self.phase is None:
            return amplitude, None
        for layer in self.phase:
            phase = layer(phase, valid)
        before = amplitude, phase
        if self.phase_to_amplitude is not None:
            amplitude = self.phase_to_amplitude(before[1], amplitude)
        if self.amplitude_to_phase is not None:
            phase = self.amplitude_to_phase(before[0], phase)
        return amplitude, phase
