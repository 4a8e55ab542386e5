"""Effects that vary the voices, rooms and noises of a corpus.

Each is called with signals ``[B, samples]`` and a generator, changes a random
share of them and returns signals of the same shape. SpeechBrain's own effects
draw from PyTorch's global generators, whose state differs between a resumed
training and an uninterrupted one.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from speechbrain.augment.time_domain import Resample
from speechbrain.processing.signal_processing import dB_to_amplitude
from torchaudio.functional import fftconvolve


class Effect(ABC):
    """Applies ``change`` to a random share of the signals.

    Arguments
    ---------
    probability : float
        That share.

    Raises
    ------
    ValueError
        If ``probability`` is not from 0 to 1.
    """

    def __init__(self, probability: float):
        if not 0 <= probability <= 1:
            raise ValueError(f"probability ({probability}) must be 0 to 1.")
        self.probability = probability

    def __call__(
        self, signals: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Changes some of the signals.

        Arguments
        ---------
        signals : torch.Tensor
            ``[B, samples]``
        generator : torch.Generator
            On the CPU, whatever the device of the signals.

        Returns
        -------
        torch.Tensor
            ``[B, samples]``, a new tensor if any is changed.
        """
        if not self.probability:
            return signals
        draws = torch.rand(len(signals), generator=generator)
        chosen = (draws < self.probability).to(signals.device)
        if not chosen.any():
            return signals
        changed = signals.clone()
        changed[chosen] = self.change(signals[chosen], generator)
        return changed

    @abstractmethod
    def change(
        self, signals: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Changes all signals ``[B, samples]``."""


class Reverberation(Effect):
    """Adds the reverberation of synthetic rooms.

    A room's response is the direct sound and, a few milliseconds later,
    exponentially decaying noise that loses its high frequencies first. Source:
    Polack, "La transmission de l'energie sonore dans les salles", 1988.

    Arguments
    ---------
    probability : float
        Share of the signals.
    sample_rate : int
        Of the signals (Hz).
    decay_low, decay_high : float
        Range of the time in which sound decays by 60 dB (s).
    direct_low, direct_high : float
        Range of the ratio of direct to reverberant energy (dB).

    Example
    -------
    >>> click = torch.zeros(1, 16000)
    >>> click[0, 0] = 1
    >>> heard = Reverberation(1)(click, torch.Generator().manual_seed(0))
    >>> heard[0, 0].round(), heard[0, 1000:2000].any()
    (tensor(1.), tensor(True))
    """

    def __init__(
        self,
        probability: float,
        sample_rate: int = 16000,
        decay_low: float = 0.15,
        decay_high: float = 0.9,
        direct_low: float = -3.0,
        direct_high: float = 15.0,
    ):
        super().__init__(probability)
        self.sample_rate = sample_rate
        self.decay = (decay_low, decay_high)
        self.direct = (direct_low, direct_high)

    def change(
        self, signals: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Convolves each signal with a room of its own."""
        rooms = self.draw_rooms(len(signals), generator).to(signals)
        return fftconvolve(signals, rooms)[:, : signals.shape[1]]

    def draw_rooms(
        self, count: int, generator: torch.Generator
    ) -> torch.Tensor:
        """Draws responses of rooms, ``[count, decay_high * sample_rate]``."""
        decay = _draw_uniform(self.decay, count, generator)
        direct = _draw_uniform(self.direct, count, generator)
        gap = _draw_uniform((0.001, 0.012), count, generator)
        size = round(self.decay[1] * self.sample_rate)
        time = torch.arange(size) / self.sample_rate
        # The upper half of the spectrum decays twice as fast.
        tails = []
        for share in (1.0, 0.5):
            noise = torch.randn(count, size, generator=generator)
            tails.append(noise * 10 ** (-3 * time / (share * decay)))
        low = tails[0].clone()
        low[:, 1:] += tails[0][:, :-1]
        high = tails[1].clone()
        high[:, 1:] -= tails[1][:, :-1]
        tail = (low + high) * (time >= gap)
        tail[:, 0] = 0
        tail /= tail.square().sum(1, keepdim=True).sqrt().clamp(min=1e-9)
        tail /= dB_to_amplitude(direct)
        tail[:, 0] = 1
        return tail


class Coloration(Effect):
    """Filters signals by random smooth curves and band limits.

    So it imitates other voices, microphones and telephones. Phases stay.

    Arguments
    ---------
    probability : float
        Share of the signals.
    sample_rate : int
        Of the signals (Hz).
    spread : float
        Standard deviation of the curve's levels, which are drawn an octave
        apart (dB).
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
        spread: float = 4.0,
        limit_probability: float = 0.2,
        limit_low: float = 3000.0,
        limit_high: float = 7500.0,
        tilt_low: float = 0.0,
        tilt_high: float = 0.0,
    ):
        super().__init__(probability)
        self.sample_rate = sample_rate
        self.spread = spread
        self.limit_probability = limit_probability
        self.limit = (limit_low, limit_high)
        self.tilt = (tilt_low, tilt_high)

    def change(
        self, signals: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Multiplies each spectrum by a curve of its own."""
        count, samples = signals.shape
        # Twice the length, so that nothing wraps from the end to the start.
        spectra = torch.fft.rfft(signals, 2 * samples)
        frequency = torch.fft.rfftfreq(2 * samples, 1 / self.sample_rate)
        octaves = (frequency.clamp(min=62.5) / 62.5).log2()
        top = math.ceil(float(octaves.max()))
        knots = self.spread * torch.randn(count, top + 1, generator=generator)
        below = octaves.floor().long().clamp(max=top - 1)
        share = octaves - below
        level = knots[:, below] * (1 - share) + knots[:, below + 1] * share
        level += _draw_uniform(self.tilt, count, generator) * octaves
        limited = torch.rand(count, 1, generator=generator)
        limit = _draw_uniform(self.limit, count, generator)
        # 60 dB in a fifth of an octave.
        fall = 300 * (frequency.clamp(min=1) / limit).log2().clamp(0, 0.3)
        level -= torch.where(limited < self.limit_probability, fall, 0.0)
        spectra = spectra * dB_to_amplitude(level).to(signals)
        return torch.fft.irfft(spectra)[:, :samples]


class Speed(Effect):
    """Plays signals faster or slower, which also shifts their pitch.

    Signals keep their length: slower ones are cut, faster ones are repeated
    or end in silence.

    Arguments
    ---------
    probability : float
        Share of the signals.
    speeds : sequence of float
        The speeds to draw from, rounded to hundredths.
    repeat : bool
        Repeat faster signals, as suits noise.

    Example
    -------
    >>> wave = torch.sin(0.1 * torch.arange(8000)).unsqueeze(0)
    >>> faster = Speed(1, speeds=[1.25])(wave, torch.Generator())
    >>> faster.shape, bool(faster[0, 6500:].any())
    (torch.Size([1, 8000]), False)
    """

    def __init__(
        self,
        probability: float,
        speeds: Sequence[float] = (0.8, 0.87, 0.93, 1.07, 1.15, 1.25),
        repeat: bool = False,
    ):
        super().__init__(probability)
        self.speeds = list(speeds)
        self.repeat = repeat
        self.resamplers = [
            Resample(round(100 * speed), 100) for speed in self.speeds
        ]

    def change(
        self, signals: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Resamples each signal by a factor of its own."""
        samples = signals.shape[1]
        draws = torch.randint(
            len(self.speeds), (len(signals),), generator=generator
        )
        changed = torch.zeros_like(signals)
        for index, draw in enumerate(draws.tolist()):
            signal = self.resamplers[draw](signals[index : index + 1])[0]
            if self.repeat:
                signal = signal.repeat(math.ceil(samples / len(signal)))
            part = min(samples, len(signal))
            changed[index, :part] = signal[:part]
        return changed


class Pauses(Effect):
    """Silences signals except for a stretch around their loudest moment.

    In a mixture, noise is then heard alone before and after that stretch, as
    in the pauses of speech.

    Arguments
    ---------
    probability : float
        Share of the signals.
    sample_rate : int
        Of the signals (Hz).
    kept_low, kept_high : float
        Range of the length of that stretch, as a share of the batch's.
    fade : float
        Length of the fades (s).

    Example
    -------
    >>> wave = torch.ones(1, 16000)
    >>> heard = Pauses(1)(wave, torch.Generator().manual_seed(0))
    >>> bool(heard.max() == 1), bool(0.1 < heard.mean() < 0.7)
    (True, True)
    """

    def __init__(
        self,
        probability: float,
        sample_rate: int = 16000,
        kept_low: float = 0.1,
        kept_high: float = 0.7,
        fade: float = 0.01,
    ):
        super().__init__(probability)
        self.kept = (kept_low, kept_high)
        self.fade = max(round(fade * sample_rate), 1)

    def change(
        self, signals: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Fades each signal in and out."""
        count, samples = signals.shape
        kept = samples * _draw_uniform(self.kept, count, generator)
        before = kept * torch.rand(count, 1, generator=generator)
        loudest = signals.abs().argmax(1, keepdim=True).cpu()
        start = torch.minimum((loudest - before).clamp(min=0), samples - kept)
        time = torch.arange(samples) - start
        edge = torch.minimum(time, kept - time)
        return signals * (1 + edge / self.fade).clamp(0, 1).to(signals)


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

    def change(
        self, signals: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Draws noise for each signal."""
        noise = torch.randn(signals.shape, generator=generator).to(signals)
        noise = self.color(noise, generator)
        energy = noise.square().sum(1, keepdim=True).clamp(min=1e-12)
        wanted = signals.square().sum(1, keepdim=True)
        return noise * (wanted / energy).sqrt()


def _draw_uniform(
    limits: tuple[float, float], count: int, generator: torch.Generator
) -> torch.Tensor:
    low, high = limits
    return low + (high - low) * torch.rand(count, 1, generator=generator)
