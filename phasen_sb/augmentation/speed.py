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
        self.resamplers = [
            Resample(round(100 * speed), 100) for speed in self.speeds
        ]

    def draw(
        self, count: int, samples: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Draws which speed each signal gets."""
        return (draw_index(len(self.speeds), generator, count),)

    def change(
        self, signals: torch.Tensor, draws: torch.Tensor
    ) -> torch.Tensor:
        """Resamples each signal by a factor of its own."""
        if draws.device.type == "cpu":
            return torch.cat(
                [
                    self._play(signals[row : row + 1], self.resamplers[draw])
                    for row, draw in enumerate(draws.tolist())
                ]
            )
        changed = signals
        for draw, resampler in enumerate(self.resamplers):
            played = self._play(signals, resampler)
            drawn = (draws == draw).unsqueeze(1)
            changed = torch.where(drawn, played, changed)
        return changed

    def _play(self, signals, resampler):
        samples = signals.shape[1]
        played = resampler(signals)
        missing = samples - played.shape[1]
        if missing > 0 and self.repeat:
            turns = math.ceil(samples / played.shape[1])
            played = played.repeat(1, turns)
        elif missing > 0:
            played = torch.nn.functional.pad(played, (0, missing))
        return played[:, :samples]
