"""PHASEN's amplitude stream as a mask on log magnitudes.

For recipes that show a model ``log1p|X|`` and nothing else: spectral_mask,
MetricGAN, and the inference class ``SpectralMaskEnhancement``. The phase
stream has no input there, so it is left out; this is not the whole PHASEN.
"""

import torch
from torch import nn

from phasen_sb.adapters.log_mask import mask_for_log_magnitude
from phasen_sb.network.blocks import TwoStreamBlock
from phasen_sb.network.heads import AmplitudeHead
from phasen_sb.network.layers import ConvNormAct
from phasen_sb.signals.padding import frame_mask


class MagnitudeMask(nn.Module):
    """PHASEN's amplitude stream with FTBs, alone: no phase is seen here.

    The arguments are those of :class:`phasen_sb.PHASEN`.

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
        Ablation: False puts 5x5 convolutions in the FTBs' place.
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
        if lengths is not None:
            lengths = lengths.to(features.device)
        mask = frame_mask(lengths, features.shape[1])
        if mask is not None:
            features = features * mask[:, 0]
        x = features.unsqueeze(1)  # [B, 1, T, F]
        for layer in self.stem:
            x = layer(x, mask)
        for block in self.blocks:
            x, _ = block(x, None, mask)
        return mask_for_log_magnitude(self.head(x, mask), features)
