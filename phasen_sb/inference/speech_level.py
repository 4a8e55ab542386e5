"""The level that a recording's speech has, passage by passage.

A network that was trained on speech of unit level removes speech that is far
below it: with one level for the whole recording, that of a near voice, a far
voice 20 dB lower would be lost. So the level follows the speech, slowly, and
is restored behind the network. It follows speech alone: in pauses, where
background noise would be amplified, and in recordings of one level, it is the
root mean square of the whole recording.

A passage may be speech where the levels of its frames vary: between words they
fall to the background. It is speech if the network, given it at the level of
speech, keeps it and clears the pauses. The level of speech is that of its
active frames, after ITU-T P.56 ("active speech level"), in windows of 2 s.
"""

from dataclasses import dataclass

import numpy as np

from phasen_sb.signals.high_pass import HighPass, design_high_pass
from phasen_sb.signals.level import SILENCE_RMS

FRAME_SECONDS = 0.02
#: Windows of 2 s, one every 0.2 s.
FRAMES_PER_STEP = 10
STEPS_PER_WINDOW = 10
#: Range (dB) of a window's frames, from the 10th to the 85th percentile, from
#: which on it may be speech: speech at 2 dB of SNR has 6, steady noise 1 to 4.
LEAST_RANGE = 4.5
#: The root mean square of a whole utterance lies this much (dB) below the
#: level of its active frames.
PAUSES = 1.5
#: What lies this little (dB) above or below the recording's level stays where
#: it is: the network is as good there.
TOLERANCE = 6.0
#: Of speech the network keeps at least this share of the power, and what it
#: keeps ranges this widely (dB), since it clears the pauses between words.
LEAST_KEPT = 0.4
LEAST_RANGE_KEPT = 15.0
#: Below the first frequency (Hz) there is no speech, below the second one
#: nothing is heard.
SPEECH_BAND, INFRASOUND = 80.0, 20.0
#: DC offset and infrasound are taken from the network's input if they have at
#: least this share of the rest's power.
INAUDIBLE_SHARE = 0.01
#: Samples that are filtered at a time.
PIECE = 2**18


def _count_frame(rate):
    """Samples of a frame; at 11025 Hz it is a little shorter than 20 ms."""
    return round(FRAME_SECONDS * rate)


@dataclass(frozen=True)
class SpeechLevels:
    """Levels of a recording at the model's rate."""

    rate: int  #: model's sample rate (Hz)
    mean: np.ndarray  #: DC offset of each channel; 0 where it is small
    #: Root mean square of each channel, without offset and removed infrasound.
    overall: np.ndarray
    #: Whether each channel has infrasound to remove.
    infrasound: np.ndarray
    #: How far each step's speech is from ``overall`` (dB), ``[steps,
    #: channels]``; 0 in pauses.
    offsets: np.ndarray

    def curve(
        self,
        channel: int,
        start: int,
        count: int,
        offsets: np.ndarray | None = None,
    ) -> np.ndarray:
        """Levels of ``count`` samples from sample ``start`` on.

        ``offsets`` ``[steps]`` replace those of the channel.
        """
        if offsets is None:
            offsets = self.offsets[:, channel]
        if not offsets.any():
            return np.full(count, self.overall[channel])
        length = _count_frame(self.rate) * FRAMES_PER_STEP
        samples = np.arange(start, start + count) + 0.5
        centres = (np.arange(len(offsets)) + 0.5) * length
        decibels = np.interp(samples, centres, offsets)
        return self.overall[channel] * 10 ** (decibels / 20)

    def reject_noise(
        self, channel: int, start: int, before: np.ndarray, after: np.ndarray
    ) -> np.ndarray | None:
        """Offsets without those of passages that were not speech after all.

        Raised to the level of speech, noise is removed by the network, or kept
        without pauses. ``before`` and ``after`` are ``[samples]`` from sample
        ``start`` on. Returns ``[steps]``; None where nothing changes.
        """
        length = _count_frame(self.rate) * FRAMES_PER_STEP
        count, first = len(before) // length, start // length
        raised = self.offsets[first : first + count, channel] < 0
        if not raised.any():
            return None
        high_pass = HighPass(2, SPEECH_BAND, self.rate, 2)
        powers = self._measure_frames(
            high_pass.filter(np.stack([before, after], 1))
        )
        kept = powers[..., 1].mean(1) / powers[..., 0].mean(1)
        low, high = np.percentile(10 * np.log10(powers[..., 1]), (10, 85), 1)
        noise = (kept < LEAST_KEPT) | (high - low < LEAST_RANGE_KEPT)
        removed = raised & noise[: len(raised)]
        if not removed.any():
            return None
        offsets = self.offsets[:, channel].copy()
        offsets[first : first + len(removed)][removed] = 0
        return _smooth(offsets[:, None])[:, 0]

    def _measure_frames(self, waves):
        """Powers in 2 s around each step, ``[steps, frames, waves]``."""
        frame = _count_frame(self.rate)
        count = len(waves) // (frame * FRAMES_PER_STEP) * FRAMES_PER_STEP
        frames = waves[: count * frame].reshape(count, frame, -1)
        powers = np.square(frames).mean(1) + SILENCE_RMS**2
        window = FRAMES_PER_STEP * (STEPS_PER_WINDOW + 1)
        margin = (window - FRAMES_PER_STEP) // 2
        powers = np.pad(powers, ((margin, margin), (0, 0)), "reflect")
        view = np.lib.stride_tricks.sliding_window_view(powers, window, 0)
        return view[::FRAMES_PER_STEP].swapaxes(1, 2)

    def split_audible(
        self, wave: np.ndarray, channel: int
    ) -> tuple[np.ndarray, np.ndarray | float]:
        """Splits ``[samples]``, less their DC offset, into what is heard and
        the infrasound to remove, 0 if there is none."""
        wave = wave - self.mean[channel]
        if not self.infrasound[channel]:
            return wave, 0.0
        from scipy.signal import sosfiltfilt  # slow to import, seldom needed

        sos = design_high_pass(2, INFRASOUND, self.rate)
        audible = sosfiltfilt(sos, wave, padlen=min(len(wave) - 1, 9))
        return audible, wave - audible


class SpeechLevelMeter:
    """Measures :class:`SpeechLevels` of a signal that comes block by block.

    Example
    -------
    >>> meter = SpeechLevelMeter(16000, channels=1)
    >>> meter.add(np.full((32000, 1), 0.1) + 0.01 * np.random.randn(32000, 1))
    >>> levels = meter.finish()
    >>> levels.mean.round(2), levels.overall.round(3)
    (array([0.1]), array([0.01]))
    """

    def __init__(self, rate: int, channels: int):
        self.rate = rate
        self._count = 0
        self._sum = np.zeros(channels)
        self._squares = np.zeros(channels)
        self._audible = np.zeros(channels)
        self._filters = [HighPass(2, f, rate, channels) for f in _BANDS]
        self._frame = _count_frame(rate)
        self._rest = np.zeros((0, channels))
        # Powers of frames that later windows begin with.
        self._powers = np.zeros((0, channels))
        self._windows = []

    def add(self, block: np.ndarray) -> None:
        """Takes the next ``[n, channels]``."""
        if not len(block):
            return
        self._count += len(block)
        self._sum += block.sum(0)
        self._squares += np.square(block).sum(0)
        # Piece by piece: a whole recording would be copied several times.
        for start in range(0, len(block), PIECE):
            self._add_piece(block[start : start + PIECE])

    def _add_piece(self, block):
        audible, speech = (band.filter(block) for band in self._filters)
        self._audible += np.square(audible).sum(0)
        speech = np.concatenate([self._rest, speech])
        step = self._frame * FRAMES_PER_STEP
        steps = len(speech) // step
        self._rest = speech[steps * step :]
        frames = speech[: steps * step].reshape(-1, self._frame, len(speech.T))
        powers = np.square(frames).mean(1) + SILENCE_RMS**2
        powers = np.concatenate([self._powers, powers])
        window = FRAMES_PER_STEP * STEPS_PER_WINDOW
        starts = range(0, len(powers) - window + 1, FRAMES_PER_STEP)
        if starts:
            windows = np.stack([powers[i : i + window] for i in starts])
            self._windows.extend(_speech_levels(windows))
        self._powers = powers[FRAMES_PER_STEP * len(starts) :]

    def finish(self) -> SpeechLevels:
        """Returns the levels of what was added."""
        count = max(self._count, 1)
        mean, power = self._sum / count, self._squares / count
        audible = self._audible / count
        varying = np.maximum(power - mean**2, 0)
        mean = np.where(mean**2 > INAUDIBLE_SHARE * varying, mean, 0.0)
        power = np.where(mean == 0, power, varying)
        infrasound = varying - audible > INAUDIBLE_SHARE * audible
        overall = np.sqrt(np.where(infrasound, audible, power))
        overall = np.maximum(overall, SILENCE_RMS)
        offsets = _smooth_offsets(self._windows, 20 * np.log10(overall))
        return SpeechLevels(self.rate, mean, overall, infrasound, offsets)


_BANDS = (INFRASOUND, SPEECH_BAND)


def _speech_levels(powers):
    """Levels (dB) of speech, ``[windows, channels]``; NaN where there is none.

    The powers of frames are ``[windows, frames, channels]``.
    """
    levels = 10 * np.log10(powers)
    low, high = np.percentile(levels, (10, 85), axis=1, keepdims=True)
    active = levels > (low + high) / 2
    low, high = low[:, 0], high[:, 0]
    count = np.maximum(active.sum(1), 1)
    level = 10 * np.log10((powers * active).sum(1) / count + SILENCE_RMS**2)
    return np.where(high - low < LEAST_RANGE, np.nan, level - PAUSES)


def _smooth_offsets(windows, overall):
    """Offsets (dB) of each step, ``[steps, channels]``."""
    if not windows:
        return np.zeros((1, len(overall)))
    offsets = np.stack(windows) - overall
    excess = np.maximum(np.abs(offsets) - TOLERANCE, 0)
    offsets = np.sign(offsets) * excess
    # A step gets the lowest level of the windows that it is in: speech that
    # is too loud for the network loses less than speech that is too low.
    steps = np.full((len(offsets) + STEPS_PER_WINDOW - 1, len(overall)), np.nan)
    for shift in range(STEPS_PER_WINDOW):
        part = steps[shift : shift + len(offsets)]
        np.fmin(part, offsets, out=part)
    return _smooth(np.nan_to_num(steps))


def _smooth(steps):
    """Averages ``[steps, channels]`` over about a second."""
    kernel = np.hanning(7)[1:-1] / np.hanning(7).sum()
    padded = np.pad(steps, ((2, 2), (0, 0)), "edge")
    return sum(w * padded[i : i + len(steps)] for i, w in enumerate(kernel))
