"""What the owner of an archive sorts its recordings by."""

import functools
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soxr

from phasen_sb.audio.reading import (
    AudioFile,
    open_audio,
    read_blocks,
    read_samples,
)
from phasen_sb.errors import UserError
from phasen_sb.inference.sample_reader import replace_non_finite
from phasen_sb.inference.speech_level import FRAME_SECONDS, SPEECH_BAND
from phasen_sb.metrics.checks import MetricError
from phasen_sb.metrics.dnsmos import dnsmos
from phasen_sb.signals.high_pass import HighPass

#: A sample of at least this magnitude counts as clipped; full scale is 1.
CLIPPED = 0.999
#: Noise is the level (percentile) that a tenth of the frames stay below.
NOISE_PERCENTILE = 10
#: Frames this much (dB) above the noise count as speech.
SPEECH_ABOVE_NOISE = 6.0
#: Frames below this level (dB of full scale) are digital silence, which says
#: nothing about noise.
SILENCE = -100.0
#: DNSMOS is the mean over this many excerpts, of its networks' 9.01 s.
EXCERPTS, EXCERPT_SECONDS, DNSMOS_RATE = 3, 9.01, 16000
DNSMOS_COLUMNS = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl")
#: Levels are counted in steps of 0.1 dB, so that memory does not grow.
_EDGES = np.arange(SILENCE, 60.0, 0.1)


def measure_file(path: str | Path) -> dict[str, float | int | None]:
    """Measures a recording, all channels together, in constant memory.

    Arguments
    ---------
    path : path
        Any file that ``phasen enhance`` reads.

    Returns
    -------
    dict
        ``seconds``, ``sample_rate`` (Hz), ``channels``; ``level_dbfs``, the
        root mean square, and ``peak_dbfs``, both relative to full scale;
        ``clipped_samples``, of at least 0.999 of full scale; above 80 Hz, in
        frames of 20 ms, ``noise_dbfs``, the 10th percentile of their levels
        (digital silence apart), ``speech_share``, the share of frames that
        are 6 dB above it, and ``snr_db``; ``dnsmos_sig``, ``dnsmos_bak`` and
        ``dnsmos_ovrl`` of up to three excerpts, where the extra ``dnsmos``
        is installed. None stands for what cannot be known, such as the level
        of digital silence.

    Raises
    ------
    UserError
        If the file cannot be read.

    Example
    -------
    >>> import soundfile as sf
    >>> path = getfixture("tmp_path") / "words.wav"
    >>> talks = np.arange(64000) // 16000 % 2 == 1
    >>> wave = np.random.randn(64000) * np.where(talks, 0.1, 0.001)
    >>> sf.write(path, wave, 16000)
    >>> found = measure_file(path)
    >>> round(found["noise_dbfs"]), round(found["speech_share"], 1)
    (-60, 0.5)
    """
    with open_audio(path) as file:
        counter = _Counter(file.samplerate, file.channels)
        for block in read_blocks(file):
            counter.add(replace_non_finite(block)[0])
    measures = counter.finish()
    ratings = dict.fromkeys(DNSMOS_COLUMNS)
    if _has_dnsmos() and measures["seconds"]:
        with open_audio(path) as file:
            ratings |= _rate(file, measures["seconds"])
    return measures | ratings


def try_to_measure(path: Path) -> tuple[dict, str]:
    """Measures a file, or says in a sentence why that is not possible."""
    try:
        return measure_file(path), ""
    except UserError as error:
        return {}, str(error)
    except Exception as error:  # of one measure; the file was enhanced
        return {}, f"{path} was not measured: {type(error).__name__}: {error}"


class _Counter:
    def __init__(self, rate, channels):
        self._rate, self._channels = rate, channels
        self._frame = max(1, round(FRAME_SECONDS * rate))
        self._high_pass = None
        if rate > 2 * SPEECH_BAND:
            self._high_pass = HighPass(2, SPEECH_BAND, rate, channels)
        self._rest = np.zeros((0, channels))
        self._samples = self._clipped = self._silent = 0
        self._squares = self._peak = 0.0
        self._counts = np.zeros(len(_EDGES) - 1, dtype=np.int64)

    def add(self, block):
        self._samples += len(block)
        self._squares += float(np.square(block).sum())
        magnitude = np.abs(block)
        self._peak = max(self._peak, float(magnitude.max(initial=0.0)))
        self._clipped += int((magnitude >= CLIPPED).sum())
        if self._high_pass is not None:
            block = self._high_pass.filter(block)
        block = np.concatenate([self._rest, block])
        whole = len(block) // self._frame * self._frame
        self._rest = block[whole:]
        frames = block[:whole].reshape(-1, self._frame * self._channels)
        levels = _decibels(np.square(frames).mean(1))
        loud = levels[levels >= SILENCE]
        self._silent += len(levels) - len(loud)
        self._counts += np.histogram(loud, _EDGES)[0]

    def finish(self):
        values = max(1, self._samples * self._channels)
        measures = {
            "seconds": self._samples / self._rate,
            "sample_rate": self._rate,
            "channels": self._channels,
            "level_dbfs": _or_none(_decibels(self._squares / values)),
            "peak_dbfs": _or_none(_decibels(self._peak**2)),
            "clipped_samples": self._clipped,
        }
        return measures | self._compare_with_noise()

    def _compare_with_noise(self):
        sums = np.cumsum(self._counts)
        if not sums[-1]:
            return {"noise_dbfs": None, "snr_db": None, "speech_share": 0.0}
        levels = (_EDGES[1:] + _EDGES[:-1]) / 2
        place = np.searchsorted(sums, NOISE_PERCENTILE / 100 * sums[-1])
        noise = float(levels[place])
        above = self._counts[levels >= noise + SPEECH_ABOVE_NOISE].sum()
        powers = 10 ** (levels / 10)
        power = float(self._counts @ powers / sums[-1])
        speech = power / 10 ** (noise / 10) - 1
        return {
            "noise_dbfs": round(noise, 2),
            "snr_db": _or_none(_decibels(speech)) if speech > 0 else None,
            "speech_share": round(float(above / (sums[-1] + self._silent)), 4),
        }


def _decibels(power):
    return 10 * np.log10(np.maximum(power, 1e-30))


def _or_none(decibels):
    return round(float(decibels), 2) if decibels > -200 else None


@functools.cache
def _has_dnsmos():
    return all(map(find_spec, ("speechmos", "onnxruntime", "librosa")))


def _rate(file: AudioFile, seconds: float) -> dict[str, float]:
    """Means of DNSMOS over excerpts that lie evenly in the recording."""
    rate = file.samplerate
    count = min(EXCERPTS, int(seconds // EXCERPT_SECONDS)) or 1
    pause = max(0.0, seconds - count * EXCERPT_SECONDS) / (count + 1)
    length = round(EXCERPT_SECONDS * rate)
    ratings = []
    for _ in range(count):
        _skip(file, int(pause * rate))
        wave = read_samples(file, length).mean(1)
        wave = replace_non_finite(soxr.resample(wave, rate, DNSMOS_RATE))[0]
        try:
            ratings.append(dnsmos(wave, DNSMOS_RATE))
        except MetricError:  # silence
            continue
    if not ratings:
        return {}
    means = np.mean(ratings, 0).round(3).tolist()
    return dict(zip(DNSMOS_COLUMNS, means, strict=True))


def _skip(file, samples):
    # Not by seek(), which videos do not have.
    while samples and (read := len(read_samples(file, min(samples, 2**18)))):
        samples -= read
