"""Random spectra: of signals, and of noise that replaces them."""

import math

import torch
from speechbrain.processing.signal_processing import dB_to_amplitude

from phasen_sb.augmentation.drawing import draw_normal, draw_uniform
from phasen_sb.augmentation.effect import Effect

LOWEST = 62.5  #: Frequency below which the curve is flat (Hz).


class Coloration(Effect):
    """Filters signals by random smooth curves and band limits.

    So it imitates other voices, microphones and telephones. Phases stay.

    Arguments
    ---------
    probability : float
        Share of the signals.
    sample_rate : int
        Of the signals (Hz).
    spread : float, optional
        Standard deviation of the curve's levels, which are drawn an octave
        apart (dB); 4 by default.
    limit_probability : float
        Share of the changed signals whose band is limited.
    limit_low, limit_high : float
        Range of the frequency where it ends (Hz).
    tilt_low, tilt_high : float
        Range of a slope that is added to the curve (dB per octave).

    Example
    -------
    >>> wave = torch.randn(1, 16000)
    >>> heard = Coloration(1)(wave, torch.Generator().manual_seed(0))
    >>> heard.shape
    torch.Size([1, 16000])
    """

    def __init__(
        self,
        probability: float,
        sample_rate: int = 16000,
        spread: float | None = None,
        limit_probability: float = 0.2,
        limit_low: float = 3000.0,
        limit_high: float = 7500.0,
        tilt_low: float = 0.0,
        tilt_high: float = 0.0,
    ):
        super().__init__(probability)
        self.sample_rate = sample_rate
        self.spread = 4.0 if spread is None else spread
        self.limit_probability = limit_probability
        self.limit = (limit_low, limit_high)
        self.tilt = (tilt_low, tilt_high)
        # Of the curve, up to the highest frequency.
        self.octaves = math.ceil(round(math.log2(sample_rate / 2 / LOWEST), 5))

    def draw(
        self, count: int, samples: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Draws each curve's levels, slope, and whether and where it ends."""
        return (
            self.spread * draw_normal(generator, count, self.octaves + 1),
            draw_uniform(self.tilt, generator, count, 1),
            draw_uniform((0, 1), generator, count, 1),
            draw_uniform(self.limit, generator, count, 1),
        )

    def change(
        self,
        signals: torch.Tensor,
        knots: torch.Tensor,
        tilt: torch.Tensor,
        limited: torch.Tensor,
        limit: torch.Tensor,
    ) -> torch.Tensor:
        """Multiplies each spectrum by a curve of its own."""
        samples = signals.shape[1]
        # Twice the length, so that nothing wraps from the end to the start.
        spectra = torch.fft.rfft(signals, 2 * samples)
        frequency = torch.fft.rfftfreq(
            2 * samples, 1 / self.sample_rate, device=signals.device
        )
        octaves = (frequency.clamp(min=LOWEST) / LOWEST).log2()
        below = octaves.floor().long().clamp(max=self.octaves - 1)
        share = octaves - below
        level = knots[:, below] * (1 - share) + knots[:, below + 1] * share
        level += tilt * octaves
        # 60 dB in a fifth of an octave.
        fall = 300 * (frequency.clamp(min=1) / limit).log2().clamp(0, 0.3)
        level -= torch.where(limited < self.limit_probability, fall, 0.0)
        spectra = spectra * dB_to_amplitude(level).to(signals)
        return torch.fft.irfft(spectra)[:, :samples]


class Hiss(Effect):
    """Replaces signals by coloured Gaussian noise of the same energy.

    Its spectrum, a random smooth curve, changes by -12 to 3 dB per octave:
    hiss, rumble, air conditioning. Silence stays silence.

    Arguments
    ---------
    probability : float
        Share of the signals.
    sample_rate : int
        Of the signals (Hz).

    Example
    -------
    >>> noise = Hiss(1)(torch.ones(1, 16000), torch.Generator().manual_seed(0))
    >>> noise.square().mean().round()
    tensor(1.)
    """

    def __init__(self, probability: float, sample_rate: int = 16000):
        super().__init__(probability)
        self.color = Coloration(
            1, sample_rate, limit_probability=0, tilt_low=-12, tilt_high=3
        )

    def draw(
        self, count: int, samples: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Draws white noise and its curves."""
        noise = draw_normal(generator, count, samples)
        # Not used: earlier versions drew it, and their runs are resumed.
        draw_uniform((0, 1), generator, count)
        return noise, *self.color.draw(count, samples, generator)

    def change(
        self, signals: torch.Tensor, noise: torch.Tensor, *curves: torch.Tensor
    ) -> torch.Tensor:
        """Colours the noise and gives it the energy of the signals."""
        noise = self.color.change(noise.to(signals), *curves)
        energy = noise.square().sum(1, keepdim=True).clamp(min=1e-12)
        wanted = signals.square().sum(1, keepdim=True)
        return noise * (wanted / energy).sqrt()
