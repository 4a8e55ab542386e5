"""Makes utterances to train on from recordings of speech.

Recordings that are not clean are left out; long ones are cut at pauses, short
ones, often single words, are joined at the tempo of speech.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import signals
from .signals import FRAME, HOP, RATE

LEVEL = -26.0  # active level of an utterance (dB of full scale)
PEAK = 0.9
#: More was clipped before it was coded, or limited.
MOST_AT_PEAK, LOUDEST = 0.03, -7.0
LONGEST = 8.0  # s; longer recordings are cut
SHORTEST_WORD = 0.18
SHORTEST = 1.5
JOINED = (2.5, 6.0)  # range of the length of joined recordings (s)
PAUSE_IN_PHRASE = (0.06, 0.3)
PAUSE_AFTER_PHRASE = (0.35, 0.8)
WORDS_IN_PHRASE = (2, 6)
MARGIN = 0.06  # kept around speech (s)
#: A recording whose quietest frames are louder is no room to fill pauses with.
LOUDEST_ROOM = -45.0  # relative to speech (dB)


@dataclass
class Word:
    """A recording whose speech has the usual level."""

    speech: np.ndarray
    whole: np.ndarray
    name: str


@dataclass
class Utterance:
    """Speech, the recordings that it is made of and how clean it is (dB)."""

    samples: np.ndarray
    names: list[str]
    snr: float


def read_word(path: Path, name: str, dropped: Counter) -> Word | None:
    """Reads a recording; None, and counted in ``dropped``, if it is no good."""
    try:
        samples, rate = signals.read_mono(path)
    except RuntimeError:
        dropped["unreadable"] += 1
        return None
    reason = None
    if rate < RATE:
        reason = "sample rate below 16 kHz"
    elif len(samples) < SHORTEST_WORD * rate:
        reason = "too short"
    elif signals.clipped_share(samples) > 2e-4:
        reason = "clipped"
    else:
        whole = signals.to_rate(samples, rate, high_pass=True)
        level = signals.active_level(whole)
        start, end = signals.find_speech(whole)
        if level < -60:
            reason = "silent"
        elif level > LOUDEST or signals.peak_share(samples) > MOST_AT_PEAK:
            reason = "limited"
        elif end - start < SHORTEST_WORD * RATE:
            reason = "too short"
        elif signals.treble(whole[start:end]) < -55:
            reason = "nothing above 4 kHz"
    if reason:
        dropped[reason] += 1
        return None
    whole = whole * np.float32(10 ** ((LEVEL - level) / 20))
    margin = round(MARGIN * RATE)
    speech = whole[max(start - margin, 0) : end + margin]
    return Word(speech, whole, name)


def make_utterances(
    words: Iterator[Word],
    least_snr: float,
    rng: np.random.Generator,
    dropped: Counter,
) -> Iterator[Utterance]:
    """Cuts and joins the recordings of one voice, in their order."""
    waiting: list[Word] = []
    target = rng.uniform(*JOINED)
    for word in words:
        length = len(word.speech) / RATE
        if length > JOINED[0]:
            for piece in cut_at_pauses(word.speech):
                yield from _check(piece, [word], least_snr, dropped)
            continue
        waiting.append(word)
        if sum(len(one.speech) / RATE + 0.2 for one in waiting) >= target:
            joined = join(waiting, rng)
            yield from _check(joined, waiting, least_snr, dropped)
            waiting, target = [], rng.uniform(*JOINED)
    if waiting:
        yield from _check(join(waiting, rng), waiting, least_snr, dropped)


def _check(
    samples: np.ndarray,
    words: list[Word],
    least_snr: float,
    dropped: Counter,
) -> Iterator[Utterance]:
    """Gives an utterance its level, if it is clean and long enough."""
    if len(samples) < SHORTEST * RATE:
        dropped["utterance too short"] += len(words)
        return
    snr = signals.estimate_snr(np.concatenate([one.whole for one in words]))
    if snr < least_snr:
        dropped["noisy"] += len(words)
        return
    gain = 10 ** ((LEVEL - signals.active_level(samples)) / 20)
    gain = min(gain, PEAK / np.abs(samples).max())
    names = [one.name for one in words]
    yield Utterance(np.float32(gain) * samples, names, round(snr, 1))


def cut_at_pauses(samples: np.ndarray) -> list[np.ndarray]:
    """Cuts a recording at its deepest pauses, so that no part is too long."""
    parts = []
    smooth = np.convolve(
        signals.frame_levels(samples), np.full(15, 1 / 15), "same"
    )
    while len(samples) > LONGEST * RATE:
        first, last = (
            round(share * LONGEST * RATE) // HOP for share in (0.3, 0.9)
        )
        frame = first + int(smooth[first:last].argmin())
        cut = frame * HOP + FRAME // 2
        parts.append(samples[:cut])
        samples, smooth = samples[cut:], smooth[frame:]
    return [signals.fade(part) for part in [*parts, samples]]


def join(words: list[Word], rng: np.random.Generator) -> np.ndarray:
    """Joins recordings, with pauses as within and between phrases."""
    parts: list[np.ndarray] = []
    left = int(rng.integers(*WORDS_IN_PHRASE))
    for word in words:
        if parts:
            left -= 1
            limits = PAUSE_IN_PHRASE if left > 0 else PAUSE_AFTER_PHRASE
            if left <= 0:
                left = int(rng.integers(*WORDS_IN_PHRASE))
            parts.append(draw_room_noise(word.whole, rng.uniform(*limits), rng))
        # No two words of a sentence are equally loud.
        gain = 10 ** (rng.uniform(-3, 3) / 20)
        parts.append(signals.fade(word.speech) * np.float32(gain))
    return np.concatenate(parts)


def draw_room_noise(
    recording: np.ndarray, seconds: float, rng: np.random.Generator
) -> np.ndarray:
    """Draws noise like that of the recording's quietest moment.

    A pause of digital silence would be heard between noisy words. It is
    silent where the recording has no quiet moment.
    """
    count = round(seconds * RATE)
    size = 512
    if len(recording) < 2 * size:
        return np.zeros(count, np.float32)
    levels = signals.frame_levels(recording)
    start = min(int(levels.argmin()) * HOP, len(recording) - size)
    quiet = recording[start : start + size]
    if levels.min() > LEVEL + LOUDEST_ROOM:
        return np.zeros(count, np.float32)
    window = np.hanning(size + 1)[:size].astype(np.float32)
    spectrum = np.abs(np.fft.rfft(quiet * window))
    noise = rng.standard_normal(count + 2 * size)
    shaped = np.convolve(noise, np.fft.fftshift(np.fft.irfft(spectrum)), "same")
    shaped = shaped[size : size + count]
    level = np.sqrt(np.mean(quiet**2) / (np.mean(shaped**2) + 1e-20))
    return (level * shaped).astype(np.float32)
