"""PHASEN as the front end of a speech recogniser."""

import torch
from speechbrain.processing.features import spectral_magnitude
from torch import nn

from phasen_sb.models.enhancer import PhasenEnhancer
from phasen_sb.signals.padding import clear_padding


class FeatureEnhancer(PhasenEnhancer):
    """Enhances to a waveform and log magnitudes, for MTL/ASR_enhance.

    The recipe also uses ``stft`` and ``extract_feats`` of the model. As with
    SpeechBrain's own ``EnhanceResnet``, DistributedDataParallel hides them:
    then they are ``module.stft`` and ``module.extract_feats``.

    Arguments
    ---------
    stft : torch.nn.Module
        SpeechBrain's ``STFT`` or :class:`phasen_sb.ConvSTFT`.
    istft : torch.nn.Module
        Its inverse.
    network : torch.nn.Module
        :class:`phasen_sb.PHASEN`.
    normalize : bool
        See :class:`phasen_sb.PhasenEnhancer`.
    mask_weight : float
        Share of the enhanced signal in the result; the rest is the noisy one.

    Example
    -------
    >>> from phasen_sb import PHASEN, ConvISTFT, ConvSTFT
    >>> network = PHASEN(recurrent_units=8, dense_units=8)
    >>> model = FeatureEnhancer(ConvSTFT(16000), ConvISTFT(16000), network)
    >>> wave, features = model(torch.randn(2, 1600))
    >>> wave.shape, features.shape
    (torch.Size([2, 1600]), torch.Size([2, 17, 257]))
    """

    def __init__(
        self,
        stft: nn.Module,
        istft: nn.Module,
        network: nn.Module,
        normalize: bool = True,
        mask_weight: float = 0.99,
    ):
        super().__init__(stft, istft, network, normalize)
        self.mask_weight = mask_weight

    def forward(
        self, x: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Enhances a batch.

        Arguments
        ---------
        x : torch.Tensor
            Noisy waveforms ``[B, samples]``.
        lengths : torch.Tensor, optional
            Relative lengths ``[B]``, which the stock recipe does not pass.

        Returns
        -------
        waveform : torch.Tensor
            ``[B, samples]``, exactly as long as ``x``.
        features : torch.Tensor
            ``log1p|S|`` of the enhanced spectrogram, ``[B, T, F]``.
        """
        wave, spectrogram = super().forward(x, lengths)
        if self.mask_weight != 1:
            noisy = clear_padding(x.float(), lengths)
            wave = torch.lerp(noisy, wave, self.mask_weight)
            noisy = self._analyse(noisy)
            spectrogram = torch.lerp(noisy, spectrogram, self.mask_weight)
        return wave, self.extract_feats(spectrogram)

    def extract_feats(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Maps a spectrogram ``[B, T, F, 2]`` to ``log1p|S|`` ``[B, T, F]``."""
        return torch.log1p(spectral_magnitude(spectrogram, power=0.5))
