"""Makes noise to train on from recordings of it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from . import signals
from .signals import RATE

LEVEL = -26.0  # of the whole recording (dB of full scale)
PEAK = 0.9
SHORTEST = 1.0  # s; shorter sounds must be events
LONGEST = 300.0
STREAM_SECONDS = 30.0  # of events that are strung together
LONGEST_EVENT = 4.0
#: There is a stream for so many sounds.
EVENTS_IN_STREAM = 6


def read_noise(
    path: Path, dropped: Counter, events: bool = False
) -> np.ndarray | None:
    """Reads a recording; None, and counted in ``dropped``, if it is no good."""
    try:
        samples, rate = signals.read_mono(path)
    except RuntimeError:
        dropped["unreadable"] += 1
        return None
    if rate < RATE:
        dropped["sample rate below 16 kHz"] += 1
        return None
    samples = signals.to_rate(samples, rate, high_pass=False)
    start, end = signals.find_speech(samples, below=50.0)
    samples = samples[start:end]
    least = 0.03 if events else SHORTEST
    if len(samples) < least * RATE:
        dropped["too short or silent"] += 1
        return None
    samples = samples[: round((LONGEST_EVENT if events else LONGEST) * RATE)]
    return set_level(signals.fade(samples, 40 if events else 160))


def set_level(samples: np.ndarray) -> np.ndarray:
    """Gives noise the usual level, or a lower one if it is impulsive."""
    power = np.mean(samples.astype(np.float64) ** 2) + 1e-20
    gain = min(
        10 ** (LEVEL / 20) / np.sqrt(power), PEAK / np.abs(samples).max()
    )
    return np.float32(gain) * samples


def string_together(
    events: list[tuple[str, np.ndarray]], rng: np.random.Generator
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Strings single sounds together, in groups of some that follow quickly.

    One stream after the other comes with the names of its sounds.
    """
    total = round(STREAM_SECONDS * RATE)
    for _ in range(-(-len(events) // EVENTS_IN_STREAM)):
        # Steps of one walker are alike: few different sounds in a stream.
        chosen = rng.choice(len(events), min(len(events), 4), replace=False)
        stream = np.zeros(total, np.float32)
        pause = np.exp(rng.uniform(np.log(0.12), np.log(1.5)))
        position = int(rng.uniform(0, pause) * RATE)
        names = set()
        while position < total:
            name, sound = events[int(rng.choice(chosen))]
            part = sound[: total - position]
            gain = 10 ** (rng.uniform(-8, 0) / 20)
            stream[position : position + len(part)] += np.float32(gain) * part
            names.add(name)
            draw = pause * rng.lognormal(-0.1, 0.45)
            position += max(int(draw * RATE), len(sound) // 3)
        yield sorted(names), set_level(stream)
