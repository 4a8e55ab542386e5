"""Reads recordings and measures what speaks for and against them."""

from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from scipy.signal import butter, sosfilt

from phasen_sb.audio.media import import_av
from phasen_sb.utils.files import native_path

RATE = 16000
#: A frame of 20 ms begins every 10 ms.
FRAME, HOP = 320, 160
_HIGH_PASS = butter(2, 50, "highpass", fs=RATE, output="sos")


def read_mono(path: Path) -> tuple[np.ndarray, int]:
    """Reads a recording, its channels averaged, and its sample rate."""
    if path.suffix == ".g722":
        return _read_g722(path), 16000
    samples, rate = sf.read(native_path(path), dtype="float32", always_2d=True)
    return samples.mean(1), rate


def _read_g722(path: Path) -> np.ndarray:
    av = import_av(path)
    frames = [np.zeros(0, np.int16)]
    with av.open(str(path), format="g722") as container:
        frames += [
            frame.to_ndarray().reshape(-1)
            for frame in container.decode(audio=0)
        ]
    return np.concatenate(frames).astype(np.float32) / 2**15


def to_rate(samples: np.ndarray, rate: int, high_pass: bool) -> np.ndarray:
    """Resamples to 16 kHz; removes rumble below 50 Hz, or the mean alone."""
    if rate != RATE:
        samples = soxr.resample(samples, rate, RATE, quality="HQ")
    if high_pass:
        return sosfilt(_HIGH_PASS, samples).astype(np.float32)
    return samples - samples.mean()


def frame_levels(samples: np.ndarray) -> np.ndarray:
    """Levels of all whole frames (dB of full scale, at least -120)."""
    if len(samples) < FRAME:
        return np.full(1, -120.0)
    sums = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    starts = np.arange(0, len(samples) - FRAME + 1, HOP)
    power = (sums[starts + FRAME] - sums[starts]) / FRAME
    return 10 * np.log10(power.clip(0) + 1e-12)


def active_level(samples: np.ndarray) -> float:
    """Level of the frames less than 25 dB below the loudest (dB)."""
    levels = frame_levels(samples)
    loud = levels[levels > np.percentile(levels, 97) - 25]
    if not len(loud):
        return -120.0
    return float(10 * np.log10(np.mean(10 ** (loud / 10))))


def estimate_snr(samples: np.ndarray) -> float:
    """Level of speech above that of the quietest twentieth (dB).

    Digital silence is left out: it says nothing about the recording.
    """
    levels = np.sort(frame_levels(samples))
    levels = levels[levels > -95]
    if len(levels) < 20:
        return 0.0
    quiet = levels[: max(3, len(levels) // 20)]
    floor = 10 * np.log10(np.mean(10 ** (quiet / 10)))
    return active_level(samples) - float(floor)


def clipped_share(samples: np.ndarray) -> float:
    """Share of the samples that stay at the peak for four or more."""
    peak = np.abs(samples).max(initial=0.0)
    if peak < 0.9:
        return 0.0
    flat = np.abs(samples) >= 0.999 * peak
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= 4].sum()) / len(samples)


def peak_share(samples: np.ndarray) -> float:
    """Share of the samples near the peak, of those that are loud at all.

    It is below .01 in most speech, and above .03 behind a limiter, or where a
    lossy codec has rounded what was clipped.
    """
    size = np.abs(samples)
    loud = size > np.sqrt(np.mean(samples[size > 0] ** 2)) / 3
    return float((size > 0.85 * size.max()).sum() / max(loud.sum(), 1))


def treble(samples: np.ndarray) -> float:
    """Level of what lies above 4 kHz, relative to all (dB)."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    high = power[len(power) // 2 :].sum() + 1e-20
    return float(10 * np.log10(high / (power.sum() + 1e-20)))


def find_speech(samples: np.ndarray, below: float = 38.0) -> tuple[int, int]:
    """Where speech begins and ends; both 0 if there is none."""
    levels = frame_levels(samples)
    threshold = max(np.percentile(levels, 97) - below, -75.0)
    loud = np.flatnonzero(levels > threshold)
    if not len(loud):
        return 0, 0
    return int(loud[0]) * HOP, min(int(loud[-1]) * HOP + FRAME, len(samples))


def fade(samples: np.ndarray, length: int = 160) -> np.ndarray:
    """Fades a signal in and out."""
    length = min(length, len(samples) // 2)
    ramp = np.sin(np.linspace(0, np.pi / 2, length, dtype=np.float32)) ** 2
    samples = samples.copy()
    samples[:length] *= ramp
    samples[len(samples) - length :] *= ramp[::-1]
    return samples


def write_flac(path: Path, samples: np.ndarray, seed: int = 0) -> None:
    """Writes 16-bit FLAC with triangular dither, or nothing at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(seed).random((2, len(samples)))
    dithered = samples * 2.0**15 + draws[0] - draws[1]
    part = path.with_name(f".{path.name}")
    integers = np.clip(np.round(dithered), -(2**15), 2**15 - 1)
    sf.write(native_path(part), integers.astype(np.int16), RATE, format="FLAC")
    part.replace(path)
