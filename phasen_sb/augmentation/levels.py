"""Levels that change within a signal."""

import torch
from speechbrain.processing.signal_processing import dB_to_amplitude

from phasen_sb.augmentation.drawing import draw_index, draw_uniform
from phasen_sb.augmentation.effect import Effect


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

    def draw(
        self, count: int, samples: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Draws each stretch's length, and the share before the moment."""
        return (
            samples * draw_uniform(self.kept, generator, count, 1),
            draw_uniform((0, 1), generator, count, 1),
        )

    def change(
        self, signals: torch.Tensor, kept: torch.Tensor, share: torch.Tensor
    ) -> torch.Tensor:
        """Fades each signal in and out."""
        samples = signals.shape[1]
        loudest = signals.abs().argmax(1, keepdim=True)
        start = (loudest - kept * share).clamp(min=0)
        start = torch.minimum(start, samples - kept)
        time = torch.arange(samples, device=signals.device) - start
        edge = torch.minimum(time, kept - time)
        return signals * (1 + edge / self.fade).clamp(0, 1).to(signals)


class LevelChanges(Effect):
    """Changes the level within signals: a far voice after a near one.

    Each is cut into segments of random lengths, the longest at most five times
    the shortest. One keeps its level, the others become softer. As one of
    ``speech_effects`` of :class:`phasen_sb.Remix` it changes speech and target
    alike; as one of ``noise_effects`` it lets noises rise, fall, begin and end.

    Arguments
    ---------
    probability : float
        Share of the signals.
    sample_rate : int
        Of the signals (Hz).
    level_low, level_high : float
        Range of the other segments' level (dB).
    segments : int
        In each of the changed signals, at least 2.
    silence_probability : float
        Share of the other segments that are silent instead.
    fade : float
        Length of the fades between segments (s).

    Raises
    ------
    ValueError
        If a share is not from 0 to 1, or there are fewer than 2 segments.

    Example
    -------
    >>> wave = torch.ones(1, 16000)
    >>> change = LevelChanges(1, level_low=-20, level_high=-20, segments=2)
    >>> heard = change(wave, torch.Generator().manual_seed(0))
    >>> heard.min(), heard.max()
    (tensor(0.1000), tensor(1.))
    """

    def __init__(
        self,
        probability: float,
        sample_rate: int = 16000,
        level_low: float = -30.0,
        level_high: float = 0.0,
        segments: int = 3,
        silence_probability: float = 0.0,
        fade: float = 0.05,
    ):
        super().__init__(probability)
        if segments < 2:
            raise ValueError(f"segments ({segments}) must be at least 2.")
        if not 0 <= silence_probability <= 1:
            raise ValueError(
                f"silence_probability ({silence_probability}) must be 0 to 1."
            )
        self.level = (level_low, level_high)
        self.segments = segments
        self.silence_probability = silence_probability
        self.fade = max(round(fade * sample_rate), 1)

    def draw(
        self, count: int, samples: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Draws where each segment but the last ends, and each one's gain."""
        lengths = draw_uniform((0.2, 1), generator, count, self.segments)
        gains = dB_to_amplitude(
            draw_uniform(self.level, generator, count, self.segments)
        )
        silent = draw_uniform((0, 1), generator, count, self.segments)
        near = draw_index(self.segments, generator, count, 1)
        gains = gains * (silent >= self.silence_probability)
        ends = [lengths[:, :part].sum(1) for part in range(1, self.segments)]
        scale = samples / lengths.sum(1, keepdim=True)
        return scale * torch.stack(ends, 1), gains.scatter(1, near, 1.0)

    def change(
        self, signals: torch.Tensor, ends: torch.Tensor, gains: torch.Tensor
    ) -> torch.Tensor:
        """Multiplies each segment by its gain."""
        time = torch.arange(signals.shape[1], device=signals.device)
        curve = gains[:, :1]
        for index in range(self.segments - 1):
            end = ends[:, index, None]
            share = ((time - end) / self.fade + 0.5).clamp(0, 1)
            step = gains[:, index + 1, None] - gains[:, index, None]
            curve = curve + step * share
        return signals * curve.to(signals)
