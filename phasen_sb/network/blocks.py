"""The blocks of PHASEN, which other networks can use, too.

All work on ``[B, C, T, F]`` (batch, channel, frame, frequency bin) and
optionally take which frames are ``valid``
(:func:`phasen_sb.signals.padding.mark_valid_frames`): then padded frames stay
zero and influence nothing.

Source: Yin, Luo, Xiong, Zeng, "PHASEN: A Phase-and-Harmonics-Aware Speech
Enhancement Network", AAAI 2020, https://arxiv.org/abs/1911.04697
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from phasen_sb.errors import UserError, choose
from phasen_sb.network.frame_memory import FrameMemory
from phasen_sb.network.gate import gate
from phasen_sb.network.initialization import (
    delta_kernel,
    open_gate,
    steady_attention,
)
from phasen_sb.network.layer_norms import FrameLayerNorm, GlobalLayerNorm
from phasen_sb.network.layers import (
    Conv2d,
    ConvNormAct,
    FrameConv,
    JointConv,
    Linear,
)
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
    causal : bool
        Whether the attention sees no later frames.
    initialization : str
        ``steady``: the attention starts nearly constant; others: PyTorch's.
    attention_limit : float, optional
        The largest weight of the attention; the paper has none. Weights grow
        with what they multiply, so that from block to block what is unlike
        the training data may be amplified without bound.

    Raises
    ------
    phasen_sb.errors.UserError
        If ``attention`` is unknown, or the limit not positive.

    Example
    -------
    >>> ftb = FrequencyTransformBlock(channels=8, n_bins=257)
    >>> ftb(torch.rand(2, 8, 50, 257)).shape
    torch.Size([2, 8, 50, 257])
    """

    attention_limit: float | None = None

    def __init__(
        self,
        channels: int,
        n_bins: int = 257,
        attention_channels: int = 5,
        attention: str = "channel",
        attention_kernel: int = 9,
        causal: bool = False,
        initialization: str = "default",
        attention_limit: float | None = None,
    ):
        super().__init__()
        if attention_limit is not None and not attention_limit > 0:
            raise UserError(
                f"attention_limit is {attention_limit}; it must be above 0."
            )
        self.attention_limit = attention_limit
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
            causal=causal,
            norm_initializer=(
                steady_attention if initialization == "steady" else None
            ),
        )
        self.transform = Linear(n_bins, n_bins, bias=False)
        self.join = ConvNormAct(2 * channels, channels, (1, 1), JointConv)

    def forward(
        self,
        x: torch.Tensor,
        valid: torch.Tensor | None = None,
        memory: FrameMemory | None = None,
    ) -> torch.Tensor:
        """Transforms the amplitude stream.

        Arguments
        ---------
        x : torch.Tensor
            ``[B, C, T, F]``, zero on padded frames.
        valid : torch.Tensor, optional
            ``[B, 1, T, 1]``: 1.0 on valid frames, 0.0 on padded ones.
        memory : FrameMemory, optional
            Of the last step, which a causal block continues.

        Returns
        -------
        torch.Tensor
            ``[B, C, T, F]``
        """
        squeezed = self.squeeze(x, valid)  # [B, C_r, T, F]
        folded = squeezed.permute(0, 2, 1, 3).flatten(2)  # [B, T, C_r*F]
        folded = folded.transpose(1, 2).unsqueeze(3)
        weights = self.weigh(folded, valid, memory)
        if self.attention_limit is not None:
            weights = weights.clamp(max=self.attention_limit)
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
        ``identity`` or ``steady``: the gate starts open; ``default``:
        PyTorch's.

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
            initializer=None if initialization == "default" else open_gate,
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
        ``identity`` or ``steady``: two channels pass; ``default``: PyTorch's.
    causal : bool
        Whether the kernel ends at the frame that it computes, instead of
        being centred there.
    delay : int
        Frames by which that initialisation delays what passes.

    Raises
    ------
    phasen_sb.errors.UserError
        If ``norm`` is unknown, or needs the whole utterance where the unit is
        causal.

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
        causal: bool = False,
        delay: int = 0,
    ):
        super().__init__()
        choose("phase_norm", norm, self.NORMS)
        if causal and norm.startswith("global"):
            raise UserError(
                f"phase_norm is '{norm}', which needs the whole utterance; of "
                "a causal network it must be frame or none."
            )
        self.norm_first = norm_first
        initializer = None
        if initialization != "default":
            initializer = partial(delta_kernel, delay=delay)
        self.conv = Conv2d(
            in_channels, out_channels, kernel_size, initializer, causal
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
        self,
        x: torch.Tensor,
        valid: torch.Tensor | None = None,
        memory: FrameMemory | None = None,
    ) -> torch.Tensor:
        """Maps ``[B, C_in, T, F]`` to ``[B, C_out, T, F]``.

        Both are zero on padded frames, where ``valid`` (``[B, 1, T, 1]``) is.
        A causal unit that gets a ``memory`` continues its last step.
        """
        if self.norm is not None and self.norm_first:
            x = self.norm(x, valid)
        x = clear_padded_frames(self.conv(x, memory), valid)
        if self.norm is not None and not self.norm_first:
            x = self.norm(x, valid)
        return x
