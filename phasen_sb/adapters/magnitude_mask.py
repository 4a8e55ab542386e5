"""PHASEN's amplitude stream as a mask on log magnitudes.

For recipes whose model sees ``log1p|X|`` alone: spectral_mask, MetricGAN, and
the inference class ``SpectralMaskEnhancement``. They have no input for the
phase stream, which is left out; this is not the whole PHASEN.
"""

import torch
from torch import nn

from phasen_sb.network.heads import AmplitudeHead
from phasen_sb.network.layers import ConvNormAct
from phasen_sb.network.two_stream_block import TwoStreamBlock
from phasen_sb.signals.padding import mark_valid_frames

#: Below this, log1p(x) and x are the same in fp32.
SMALLEST_FEATURE = 1e-6


class MagnitudeMask(nn.Module):
    """Estimates a mask of log magnitudes, as PHASEN's amplitude stream does.

    Arguments
    ---------
    n_fft : int
        FFT size; features have F = n_fft / 2 + 1 bins.
    amplitude_channels : int
        C_A.
    blocks : int
        Blocks of convolutions between two FTBs.
    recurrent : str
        ``lstm`` or ``gru``, always bidirectional.
    recurrent_units : int
        Units in each direction.
    dense_units : int
        Units of the head's hidden dense layers.
    attention : str
        Attention of the FTBs: ``channel`` or ``bin``.
    attention_channels : int
        C_r.
    mask_activation : str
        ``sigmoid`` or ``softplus``.
    frequency_transform : bool
        Ablation: False replaces the FTBs by 5x5 convolutions.
    initialization : str
        ``identity``: the mask starts near one; ``default``: PyTorch's.

    Example
    -------
    >>> net = MagnitudeMask(n_fft=32, amplitude_channels=4, recurrent_units=6)
    >>> net(torch.rand(2, 50, 17), lengths=torch.tensor([1.0, 0.5])).shape
    torch.Size([2, 50, 17])
    """

    def __init__(
        self,
        n_fft: int = 512,
        amplitude_channels: int = 24,
        blocks: int = 3,
        recurrent: str = "lstm",
        recurrent_units: int = 300,
        dense_units: int = 600,
        attention: str = "channel",
        attention_channels: int = 5,
        mask_activation: str = "sigmoid",
        frequency_transform: bool = True,
        initialization: str = "identity",
    ):
        super().__init__()
        self.n_bins = n_fft // 2 + 1
        self.stem = nn.ModuleList(
            [
                ConvNormAct(1, amplitude_channels, (1, 7)),
                ConvNormAct(amplitude_channels, amplitude_channels, (7, 1)),
            ]
        )
        self.blocks = nn.ModuleList(
            TwoStreamBlock(
                amplitude_channels,
                None,
                self.n_bins,
                attention=attention,
                attention_channels=attention_channels,
                frequency_transform=frequency_transform,
                initialization=initialization,
            )
            for _ in range(blocks)
        )
        self.head = AmplitudeHead(
            amplitude_channels,
            self.n_bins,
            recurrent=recurrent,
            recurrent_units=recurrent_units,
            dense_units=dense_units,
            activation=mask_activation,
            initialization=initialization,
        )

    def forward(
        self, features: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Estimates the mask.

        Arguments
        ---------
        features : torch.Tensor
            ``log1p|X|``, ``[B, T, F]``.
        lengths : torch.Tensor, optional
            Relative lengths ``[B]``.

        Returns
        -------
        torch.Tensor
            Factor on ``features``, ``[B, T, F]``, in fp32.

        Raises
        ------
        ValueError
            If the shape is not ``[B, T, n_fft / 2 + 1]``.
        """
        if features.dim() != 3 or features.shape[2] != self.n_bins:
            raise ValueError(
                "MagnitudeMask takes log1p magnitudes [batch, frames, "
                f"{self.n_bins}], got {list(features.shape)}."
            )
        features = features.float()
        valid = mark_valid_frames(lengths, features.shape[1], features.device)
        if valid is not None:
            features = features * valid[:, 0]
        x = features.unsqueeze(1)  # [B, 1, T, F]
        for layer in self.stem:
            x = layer(x, valid)
        for block in self.blocks:
            x, _ = block(x, None, valid)
        return convert_mask(self.head(x, valid), features)


def convert_mask(mask: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Converts a mask of ``|X|`` to the factor on ``log1p|X|`` of its effect.

    Arguments
    ---------
    mask : torch.Tensor
        Mask of the linear magnitudes, not negative.
    features : torch.Tensor
        ``log1p|X|``, of the same shape.

    Returns
    -------
    torch.Tensor
        ``log1p(mask * |X|) / log1p|X|``, and its limit, the mask, in silence.

    Example
    -------
    >>> x, mask = torch.tensor([0.0, 3.0]), torch.tensor([0.5, 0.5])
    >>> factor = convert_mask(mask, torch.log1p(x))
    >>> torch.expm1(factor * torch.log1p(x))
    tensor([0.0000, 1.5000])
    """
    features = features.clamp(min=SMALLEST_FEATURE)
    return torch.log1p(mask * torch.expm1(features)) / features
