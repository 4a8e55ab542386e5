"""The two-stream block, of which PHASEN has several.

Source: Yin et al., "PHASEN", AAAI 2020, section "Two-Stream Blocks".
"""

from collections.abc import Sequence

import torch
from torch import nn

from phasen_sb.network.blocks import (
    FrequencyTransformBlock,
    InformationCommunication,
    PhaseConv,
)
from phasen_sb.network.frame_memory import FrameMemory
from phasen_sb.network.layers import ConvNormAct


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
        ``identity``, ``steady`` or ``default``.
    causal : bool
        Whether no layer sees later frames.
    attention_limit : float, optional
        See :class:`phasen_sb.FrequencyTransformBlock`.

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
        causal: bool = False,
        attention_limit: float | None = None,
    ):
        super().__init__()

        def frequency_block():
            if not frequency_transform:
                return convolution((5, 5))
            return FrequencyTransformBlock(
                amplitude_channels,
                n_bins,
                attention_channels,
                attention,
                causal=causal,
                initialization=initialization,
                attention_limit=attention_limit,
            )

        def convolution(kernel):
            return ConvNormAct(
                amplitude_channels, amplitude_channels, kernel, causal=causal
            )

        self.amplitude = nn.ModuleList([frequency_block()])
        for kernel in ((5, 5), (25, 1), (5, 5)):
            self.amplitude.append(convolution(kernel))
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
                causal,
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
        memory: FrameMemory | None = None,
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
        memory : FrameMemory, optional
            Of the last step, which a causal block continues.

        Returns
        -------
        amplitude : torch.Tensor
            ``[B, C_A, T, F]``
        phase : torch.Tensor or None
            ``[B, C_P, T, F]``
        """
        for layer in self.amplitude:
            amplitude = layer(amplitude, valid, memory)
        if self.phase is None:
            return amplitude, None
        for layer in self.phase:
            phase = layer(phase, valid, memory)
        before = amplitude, phase
        if self.phase_to_amplitude is not None:
            amplitude = self.phase_to_amplitude(before[1], amplitude)
        if self.amplitude_to_phase is not None:
            phase = self.amplitude_to_phase(before[0], phase)
        return amplitude, phase
