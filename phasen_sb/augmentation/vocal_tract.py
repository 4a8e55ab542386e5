"""Other voices out of those that were recorded."""

import torch
from speechbrain.processing.features import STFT

from phasen_sb.augmentation.drawing import draw_uniform
from phasen_sb.augmentation.effect import Effect
from phasen_sb.signals.istft import ISTFT
from phasen_sb.signals.windows import move_windows

#: Terms of the cepstrum that describe the vocal tract: shorter than the
#: period of a voice of 400 Hz.
ENVELOPE_SECONDS = 0.0025
ITERATIONS = 4


class VocalTract(Effect):
    """Shortens or lengthens the vocal tract; the pitch stays.

    The formants of each moment, a smooth curve through its spectrum, move by a
    common factor: a child or a giant of the same pitch. With
    :class:`phasen_sb.Speed`, which moves pitch and formants, both change apart
    from each other.

    Arguments
    ---------
    probability : float
        Share of the signals.
    sample_rate : int
        Of the signals (Hz).
    ratio_low, ratio_high : float
        Range of the factor.

    Example
    -------
    >>> voice = torch.randn(1, 16000)
    >>> same = VocalTract(1, ratio_low=1, ratio_high=1)
    >>> heard = same(voice, torch.Generator().manual_seed(0))
    >>> torch.allclose(heard, voice, atol=1e-4)
    True
    """

    def __init__(
        self,
        probability: float,
        sample_rate: int = 16000,
        ratio_low: float = 0.82,
        ratio_high: float = 1.2,
    ):
        super().__init__(probability)
        self.ratio = (ratio_low, ratio_high)
        self.terms = round(ENVELOPE_SECONDS * sample_rate)
        window = {"win_length": 32, "hop_length": 8}
        window["n_fft"] = round(0.032 * sample_rate)
        self.stft = STFT(sample_rate, **window)
        self.istft = ISTFT(sample_rate, **window)

    def draw(
        self, count: int, samples: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Draws the factor of each signal."""
        return (draw_uniform(self.ratio, generator, count, 1),)

    def change(
        self, signals: torch.Tensor, ratio: torch.Tensor
    ) -> torch.Tensor:
        """Moves the envelope of each spectrum."""
        if self.stft.window.device != signals.device:
            for transform in (self.stft, self.istft):
                move_windows(transform, signals.device)
        spectra = self.stft(signals)  # [B, T, F, 2]
        level = spectra.square().sum(3).clamp(min=1e-10).log() / 2
        envelope = self._find_envelope(level)
        # Read at the frequency that moves to each one.
        bins = envelope.shape[2]
        place = torch.arange(bins, device=signals.device) / ratio
        place = place.clamp(max=bins - 1.001)
        below = place.floor().long()
        share = (place - below).unsqueeze(1)
        index = below.unsqueeze(1).expand_as(envelope)
        moved = envelope.gather(2, index) * (1 - share)
        moved = moved + envelope.gather(2, index + 1) * share
        gain = (moved - envelope).clamp(-4, 4).exp().unsqueeze(3)
        return self.istft.overlap_add(spectra * gain, signals.shape[1])

    def _find_envelope(self, level):
        """Finds a smooth curve over the harmonics of each spectrum.

        Its cepstrum has only the first terms. What lies below the curve is
        raised to it, so that it rises to the harmonics. Source: Roebel, Rodet,
        "Efficient spectral envelope estimation", 2005.
        """
        size = 2 * (level.shape[2] - 1)
        term = torch.arange(size, device=level.device)
        term = torch.minimum(term, size - term) / self.terms
        window = 0.5 + 0.5 * (torch.pi * term.clamp(max=1)).cos()
        envelope = level
        for _ in range(ITERATIONS):
            raised = torch.maximum(level, envelope)
            cepstrum = torch.fft.irfft(raised)
            envelope = torch.fft.rfft(cepstrum * window).real
        return envelope
