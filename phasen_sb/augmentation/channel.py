"""What microphones, telephones and codecs do to a mixture."""

import math
from abc import abstractmethod

import torch
from speechbrain.processing.features import STFT
from speechbrain.processing.signal_processing import dB_to_amplitude

from phasen_sb.augmentation.drawing import draw_uniform
from phasen_sb.augmentation.effect import Effect
from phasen_sb.signals.istft import ISTFT
from phasen_sb.signals.windows import move_windows


class ChannelEffect(Effect):
    """Changes mixtures, and of their targets what cannot be brought back.

    A subclass defines :meth:`change_pair` in place of ``change``.
    """

    def apply(
        self,
        noisy: torch.Tensor,
        clean: torch.Tensor,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Changes a random share of the pairs.

        Arguments
        ---------
        noisy, clean : torch.Tensor
            ``[B, samples]``
        generator : torch.Generator
            As for all effects.

        Returns
        -------
        noisy, clean : torch.Tensor
            ``[B, samples]``
        """
        if not self.probability:
            return noisy, clean
        pairs = self(torch.cat([noisy, clean], 1), generator)
        noisy, clean = pairs.chunk(2, 1)
        return noisy, clean

    def change(
        self, signals: torch.Tensor, *values: torch.Tensor
    ) -> torch.Tensor:
        """Changes pairs that are joined to ``[B, 2 * samples]``."""
        return torch.cat(self.change_pair(*signals.chunk(2, 1), *values), 1)

    @abstractmethod
    def change_pair(
        self, noisy: torch.Tensor, clean: torch.Tensor, *values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Changes all pairs."""


class Clipping(ChannelEffect):
    """Cuts the peaks of mixtures off, as microphones do; targets keep theirs.

    Arguments
    ---------
    probability : float
        Share of the mixtures.
    depth_low, depth_high : float
        Range of what is cut off of the highest peak (dB).

    Example
    -------
    >>> noisy, clean = torch.tensor([[1.0, -0.2]]), torch.tensor([[0.9, 0.1]])
    >>> clip = Clipping(1, depth_low=6.02, depth_high=6.02)
    >>> clip.apply(noisy, clean, torch.Generator())
    (tensor([[ 0.5000, -0.2000]]), tensor([[0.9000, 0.1000]]))
    """

    def __init__(
        self,
        probability: float,
        depth_low: float = 1.0,
        depth_high: float = 12.0,
    ):
        super().__init__(probability)
        self.depth = (depth_low, depth_high)

    def draw(
        self, count: int, samples: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Draws how deep each is cut."""
        return (draw_uniform(self.depth, generator, count, 1),)

    def change_pair(
        self, noisy: torch.Tensor, clean: torch.Tensor, depth: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Limits the mixtures."""
        limit = noisy.abs().amax(1, keepdim=True) * dB_to_amplitude(-depth)
        return noisy.clamp(-limit, limit), clean


class Codec(ChannelEffect):
    """Sends mixtures over a telephone, or through a lossy codec.

    Half of the changed mixtures have the band of a telephone and 8-bit samples
    after the mu-law; the others lose what is masked by louder sounds nearby, as
    in codecs at low bit rates, and the highest frequencies. Targets have the
    same band, since nobody can know what was outside of it.

    Arguments
    ---------
    probability : float
        Share of the mixtures.
    sample_rate : int
        Of the signals (Hz).

    Example
    -------
    >>> noisy = clean = torch.randn(1, 16000)
    >>> generator = torch.Generator().manual_seed(0)
    >>> noisy, clean = Codec(1).apply(noisy, clean, generator)
    >>> torch.fft.rfft(clean)[0, 7900:].abs().max() < 1
    tensor(True)
    """

    def __init__(self, probability: float, sample_rate: int = 16000):
        super().__init__(probability)
        self.sample_rate = sample_rate
        window = {"win_length": 32, "hop_length": 16}
        window["n_fft"] = round(0.032 * sample_rate)
        self.stft = STFT(sample_rate, **window)
        self.istft = ISTFT(sample_rate, **window)

    def draw(
        self, count: int, samples: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Draws the kind, both ends of the band, the level and the loss."""
        top = 0.45 * self.sample_rate
        return (
            draw_uniform((0, 1), generator, count, 1),
            draw_uniform((50, 300), generator, count, 1),
            draw_uniform((3300, 3800), generator, count, 1),
            draw_uniform((min(4000, top), top), generator, count, 1),
            draw_uniform((-30, 0), generator, count, 1),
            draw_uniform((-30, -8), generator, count, 1, 1),
        )

    def change_pair(
        self,
        noisy: torch.Tensor,
        clean: torch.Tensor,
        kind: torch.Tensor,
        low: torch.Tensor,
        narrow: torch.Tensor,
        wide: torch.Tensor,
        level: torch.Tensor,
        loss: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Limits the bands of both, and codes the mixtures."""
        phone = kind < 0.5
        low = torch.where(phone, low, 20.0)
        high = torch.where(phone, narrow, wide)
        noisy, clean = (
            self._limit_band(signal, low, high) for signal in (noisy, clean)
        )
        error = _code_mu_law(noisy, level) - noisy
        coded = noisy + self._limit_band(error, low, high)
        return torch.where(phone, coded, self._drop_masked(noisy, loss)), clean

    def _limit_band(self, signals, low, high):
        samples = signals.shape[1]
        spectra = torch.fft.rfft(signals, 2 * samples)
        frequency = torch.fft.rfftfreq(
            2 * samples, 1 / self.sample_rate, device=signals.device
        ).clamp(min=1)
        below = (low / frequency).log2().clamp(min=0)
        above = (frequency / high).log2().clamp(min=0)
        # 24 dB per octave below, 60 dB in a fifth of one above.
        curve = dB_to_amplitude(-(24 * below + 300 * above).clamp(max=80))
        return torch.fft.irfft(spectra * curve)[:, :samples]

    def _drop_masked(self, signals, loss):
        if self.stft.window.device != signals.device:
            for transform in (self.stft, self.istft):
                move_windows(transform, signals.device)
        spectra = self.stft(signals)
        power = spectra.square().sum(3)
        loudest = torch.nn.functional.max_pool1d(power, 17, 1, 8)
        kept = power > loudest * 10 ** (loss / 10)
        return self.istft.overlap_add(
            spectra * kept.unsqueeze(3), signals.shape[1]
        )


def _code_mu_law(signals, level, mu=255.0):
    """Rounds samples as 8-bit telephony does, the peak at ``level`` (dB)."""
    peak = signals.abs().amax(1, keepdim=True).clamp(min=1e-9)
    scale = dB_to_amplitude(level) / peak
    scaled = scale * signals
    coded = scaled.sign() * (mu * scaled.abs()).log1p() / math.log1p(mu)
    coded = (coded * 127).round() / 127
    decoded = coded.sign() * ((coded.abs() * math.log1p(mu)).exp() - 1) / mu
    return decoded / scale
