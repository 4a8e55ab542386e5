"""A complex filter over the neighbours of each bin of the noisy spectrogram.

A mask can only scale a bin. Speech and noise overlap in it, and a window
smears each of them over its neighbours, so what the neighbours hold tells part
of the noise from speech; a filter over them can cancel it.

Source: Mack and Habets, "Deep Filtering: Signal Extraction and Reconstruction
Using Complex Time-Frequency Filters", IEEE SPL 2020,
https://arxiv.org/abs/1904.08369
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.errors import UserError
from phasen_sb.network.frame_memory import FrameMemory
from phasen_sb.network.layers import Conv2d


def start_at_zero(conv: nn.Conv2d) -> None:
    """Makes a convolution return zeros, with gradients for its weights."""
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)


class NeighbourFilter(nn.Module):
    """Estimates complex taps for the neighbours of each bin, and applies them.

    The bin itself has no tap: mask and phase are for it. All taps start at
    zero, so an untrained filter adds nothing.

    Arguments
    ---------
    channels : int
        Channels of the features that the taps are estimated from.
    kernel : tuple of int
        Extent of the neighbourhood as (frames, bins), both odd.
    causal : bool
        Whether it ends at the frame that is filtered, instead of being centred
        there.

    Raises
    ------
    phasen_sb.errors.UserError
        If the extent is even, or not positive.

    Example
    -------
    >>> neighbours = NeighbourFilter(12, (3, 3))
    >>> features = torch.randn(2, 12, 50, 17)  # [B, C, T, F]
    >>> taps = neighbours(features)
    >>> taps.shape
    torch.Size([2, 50, 17, 16])
    >>> neighbours.apply_taps(taps, torch.randn(2, 50, 17, 2)).abs().max()
    tensor(0., grad_fn=<MaxBackward1>)
    """

    def __init__(
        self, channels: int, kernel: Sequence[int], causal: bool = False
    ):
        super().__init__()
        frames, bins = kernel
        if min(kernel) < 1 or max(kernel) < 2 or not frames * bins % 2:
            raise UserError(
                f"filter_kernel is {list(kernel)}; frames and bins must be "
                "odd and positive, and one of them above 1, such as [3, 3]."
            )
        future = 0 if causal else frames // 2
        self.past, self.future = frames - 1 - future, future
        self.reach = bins // 2
        #: Frames and bins from the bin to its neighbours.
        self.neighbours = [
            (frame, bin)
            for frame in range(-self.past, future + 1)
            for bin in range(-self.reach, self.reach + 1)
            if (frame, bin) != (0, 0)
        ]
        self.conv = Conv2d(
            channels,
            2 * len(self.neighbours),
            (1, 1),
            initializer=start_at_zero,
        )

    @classmethod
    def make(
        cls,
        channels: int | None,
        kernel: Sequence[int] | None,
        causal: bool = False,
    ) -> "NeighbourFilter | None":
        """Makes a filter, or None without a kernel.

        ``channels`` are None without features, which is an error if there is
        a kernel.
        """
        if kernel is None:
            return None
        if channels is None:
            raise UserError(
                f"filter_kernel is {list(kernel)}, but there is no phase "
                "stream to estimate a filter; give null."
            )
        return cls(channels, kernel, causal)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Estimates taps, in fp32 whatever the precision of the features.

        Arguments
        ---------
        features : torch.Tensor
            ``[B, C, T, F]``

        Returns
        -------
        torch.Tensor
            ``[B, T, F, 2 * neighbours]``, real parts before imaginary parts.
        """
        return self.conv(features).float().permute(0, 2, 3, 1)

    def apply_taps(
        self,
        taps: torch.Tensor,
        spectrogram: torch.Tensor,
        memory: FrameMemory | None = None,
    ) -> torch.Tensor:
        """Sums the neighbours of each bin, times their taps.

        Arguments
        ---------
        taps : torch.Tensor
            Of :meth:`forward`, ``[..., T, F, 2 * neighbours]``.
        spectrogram : torch.Tensor
            ``[..., T, F, 2]``; beyond its edges there is silence.
        memory : FrameMemory, optional
            Of the last step, which a causal filter continues.

        Returns
        -------
        torch.Tensor
            ``[..., T, F, 2]``
        """
        frames, bins = spectrogram.shape[-3:-1]
        past = self.past
        if memory is not None:
            spectrogram = memory.prepend(spectrogram, past, dim=-3)
            past = 0
        seen = F.pad(
            spectrogram, (0, 0, self.reach, self.reach, past, self.future)
        )
        taps_real, taps_imag = (x.unbind(-1) for x in taps.chunk(2, dim=-1))
        sum_real, sum_imag = 0.0, 0.0
        # One after the other, so that no neighbour is copied.
        for i, (frame, bin) in enumerate(self.neighbours):
            one = seen.narrow(-3, self.past + frame, frames)
            real, imag = one.narrow(-2, self.reach + bin, bins).unbind(-1)
            sum_real = sum_real + real * taps_real[i] - imag * taps_imag[i]
            sum_imag = sum_imag + real * taps_imag[i] + imag * taps_real[i]
        return torch.stack([sum_real, sum_imag], dim=-1)
