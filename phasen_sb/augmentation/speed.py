"""Resampling by a factor for each signal."""

import math
from collections.abc import Sequence

import torch
from speechbrain.augment.time_domain import Resample

from phasen_sb.augmentation.drawing import draw_index
from phasen_sb.augmentation.effect import Effect


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
        rates = [round(100 * speed) for speed in self.speeds]
        self.resamplers = [Resample(rate, 100) for rate in rates]
        self.steps = [rate // math.gcd(rate, 100) for rate in rates]
        self.filters = {}  # of the resamplers, on each device

    def draw(
        self, count: int, samples: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Draws which speed each signal gets."""
        return (draw_index(len(self.speeds), generator, count),)

    def change(
        self, signals: torch.Tensor, draws: torch.Tensor
    ) -> torch.Tensor:
        """Resamples each signal by a factor of its own."""
        if draws.device.type != "cpu":
            return self.change_unread(signals, draws)
        samples = signals.shape[1]
        played = [
            self._fit(self.resamplers[draw](signals[row : row + 1]), samples)
            for row, draw in enumerate(draws.tolist())
        ]
        return torch.cat(played)

    def change_unread(
        self, signals: torch.Tensor, draws: torch.Tensor
    ) -> torch.Tensor:
        """As :meth:`change`, without a look at what was drawn.

        All signals are played at all speeds.
        """
        device = signals.device
        if device not in self.filters:
            self.filters[device] = [
                _find_filters(resampler).to(device)
                for resampler in self.resamplers
            ]
        changed = signals
        for draw, filters in enumerate(self.filters[device]):
            played = _resample(signals, filters, self.steps[draw])
            played = self._fit(played, signals.shape[1])
            drawn = (draws == draw).unsqueeze(1)
            changed = torch.where(drawn, played, changed)
        return changed

    def _fit(self, played, samples):
        missing = samples - played.shape[1]
        if missing > 0 and self.repeat:
            played = played.repeat(1, math.ceil(samples / played.shape[1]))
        elif missing > 0:
            played = torch.nn.functional.pad(played, (0, missing))
        return played[:, :samples]


def _find_filters(resampler):
    """Finds a resampler's filters, ``[taps, phases]``."""
    if resampler.orig_freq == resampler.new_freq:
        return torch.ones(1, 1)
    return resampler.resampler.kernel.squeeze(1).T


def _resample(signals, filters, step):
    """Resamples by filters that move on by ``step`` samples at a time.

    As products of matrices: a GPU's convolutions, which torchaudio takes, round
    to TF32 by default.
    """
    taps, phases = filters.shape
    width = (taps - step) // 2
    padded = torch.nn.functional.pad(signals, (width, width + step))
    played = padded.unfold(1, taps, step) @ filters
    count = math.ceil(phases * signals.shape[1] / step)
    return played.flatten(1)[:, :count]
