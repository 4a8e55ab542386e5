"""PHASEN as Encoder, MaskNet and Decoder of a SepFormer-style recipe.

Such a recipe computes ``Decoder(Encoder(x) * MaskNet(Encoder(x)))``. PHASEN's
result is not a product with its input, so the encoding has further channels,
which carry the utterance's level g, and the mask is zero on the others:

    Encoder:  [Re X/g, Im X/g, g, g]
    MaskNet:  [0, 0, Re S, Im S]      S: PHASEN's spectrogram of X/g
    product:  [0, 0, g Re S, g Im S]

The Decoder inverts the last two quarters: exactly PHASEN, level restored. All
weights are in the MaskNet, the only one of the three that such recipes call
as a module (and wrap for distributed training).
"""

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.signals.level import measure_level


class CarrierEncoder(nn.Module):
    """Encodes waveforms as channels of spectrogram and level.

    Arguments
    ---------
    stft : torch.nn.Module
        SpeechBrain's ``STFT`` or :class:`phasen_sb.ConvSTFT`, centred.
    normalize : bool
        Divide each waveform by its RMS, which the carrier channels restore.

    Example
    -------
    >>> from phasen_sb import PHASEN, ConvISTFT, ConvSTFT
    >>> x = torch.randn(2, 1234)
    >>> encoding = CarrierEncoder(ConvSTFT(16000))(x)
    >>> masknet = CarrierMaskNet(PHASEN(recurrent_units=8, dense_units=8))
    >>> [product] = encoding * masknet(encoding)
    >>> wave = CarrierDecoder(ConvISTFT(16000))(product)
    >>> encoding.shape, wave.shape
    (torch.Size([2, 1028, 14]), torch.Size([2, 1300]))
    """

    def __init__(self, stft: nn.Module, normalize: bool = True):
        super().__init__()
        self.stft = stft
        self.normalize = normalize

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[B, samples]`` to ``[B, 4 F, T]``, in fp32."""
        x = x.float()
        gain = measure_level(x) if self.normalize else torch.ones_like(x[:, :1])
        # Whole hops: the decoder cannot know how many samples there were.
        x = F.pad(x / gain, (0, -x.shape[1] % self.stft.hop_length))
        spectrogram = self.stft(x)
        spectrogram = torch.cat(spectrogram.unbind(-1), dim=2)  # [B, T, 2F]
        carrier = gain[:, :, None].expand_as(spectrogram)
        return torch.cat([spectrogram, carrier], dim=2).transpose(1, 2)


class CarrierMaskNet(nn.Module):
    """PHASEN between :class:`phasen_sb.CarrierEncoder` and its decoder.

    Arguments
    ---------
    network : torch.nn.Module
        :class:`phasen_sb.PHASEN`.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[B, 4 F, T]`` to ``[1, B, 4 F, T]``: one speaker."""
        real, imag = x.float().transpose(1, 2).chunk(4, dim=2)[:2]
        enhanced = self.network(torch.stack([real, imag], dim=-1)).spectrogram
        enhanced = torch.cat(enhanced.unbind(-1), dim=2)  # [B, T, 2F]
        mask = torch.cat([torch.zeros_like(enhanced), enhanced], dim=2)
        return mask.transpose(1, 2).unsqueeze(0)


class CarrierDecoder(nn.Module):
    """Decodes the product of encoding and mask to waveforms.

    Arguments
    ---------
    istft : torch.nn.Module
        Inverse of the encoder's ``stft``.
    """

    def __init__(self, istft: nn.Module):
        super().__init__()
        self.istft = istft

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[B, 4 F, T]`` to ``[B, samples]``, up to a hop longer."""
        with torch.autocast(x.device.type, enabled=False):
            real, imag = x.float().transpose(1, 2).chunk(4, dim=2)[2:]
            return self.istft(torch.stack([real, imag], dim=-1))
