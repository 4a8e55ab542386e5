"""Augmentation of pairs of noisy and clean speech, a batch at a time.

Authors
 * The phasen_sb authors 2026
"""

import torch
from speechbrain.processing.signal_processing import dB_to_amplitude

from phasen_sb.enhancer import clear_padding
from phasen_sb.seeding import seeded_generator


class Remix:
    """Gives every utterance the noise of another, at a random SNR.

    The noise of a pair is noisy minus clean; it is dealt out anew within the
    batch. That makes many mixtures of few recordings. After Defossez et al.,
    "Real Time Speech Enhancement in the Waveform Domain", 2020, who keep the
    noises' levels.

    Arguments
    ---------
    snr_low : float
        Lowest signal-to-noise ratio (dB).
    snr_high : float
        Highest signal-to-noise ratio (dB).
    probability : float
        Share of the batches that are mixed anew; 0 switches it off.

    Example
    -------
    >>> clean = torch.randn(4, 16000)
    >>> noisy, same = Remix(0, 0)(clean + torch.randn(4, 16000), clean, "1")
    >>> same is clean
    True
    >>> ((noisy - clean).square().mean() / clean.square().mean()).round()
    tensor(1.)
    """

    def __init__(
        self, snr_low: float, snr_high: float, probability: float = 1.0
    ):
        if snr_low > snr_high:
            raise ValueError(
                f"snr_low ({snr_low}) must not exceed snr_high ({snr_high})."
            )
        self.snr_low = snr_low
        self.snr_high = snr_high
        self.probability = probability

    def __call__(
        self,
        noisy: torch.Tensor,
        clean: torch.Tensor,
        seed: str,
        lengths: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixes a batch anew.

        Arguments
        ---------
        noisy : torch.Tensor
            ``[B, samples]``, zero past each utterance's end.
        clean : torch.Tensor
            ``[B, samples]``, likewise.
        seed : str
            The same text gives the same mixtures, on any device: a resumed
            training sees what an unbroken one sees.
        lengths : torch.Tensor, optional
            Relative lengths ``[B]``.

        Returns
        -------
        noisy : torch.Tensor
            ``[B, samples]``, zero past each utterance's end. The noise of a
            shorter utterance does not reach a longer one's end.
        clean : torch.Tensor
            As given.
        """
        generator = seeded_generator(seed)
        if torch.rand((), generator=generator) >= self.probability:
            return noisy, clean
        batch = len(noisy)
        order = torch.randperm(batch, generator=generator)
        position = torch.rand(batch, 1, generator=generator)
        snr = self.snr_low + position * (self.snr_high - self.snr_low)
        noise = (noisy - clean)[order.to(noisy.device)]
        noise = clear_padding(noise, lengths)
        # Both sums run over the same samples: their ratio is the SNR.
        speech_energy = clean.square().sum(1, keepdim=True)
        noise_energy = noise.square().sum(1, keepdim=True).clamp(min=1e-12)
        gain = (speech_energy / noise_energy).sqrt()
        return clean + gain / dB_to_amplitude(snr.to(noisy)) * noise, clean
