"""Babble: the noise of many voices, mixed from recordings of speech."""

import io
import math
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile as sf
import torch
from speechbrain.processing.signal_processing import dB_to_amplitude

from phasen_sb.audio.checking import AudioFile, inspect_audio
from phasen_sb.audio.finding import find_audio
from phasen_sb.audio.reading import open_audio
from phasen_sb.audio.resampling import find_rate_problem, resample
from phasen_sb.augmentation.reverberation import Reverberation
from phasen_sb.errors import UserError
from phasen_sb.utils.folders import check_apart, existing_folder
from phasen_sb.utils.parallel import process_files
from phasen_sb.utils.seeding import seeded_generator

PAUSE_SECONDS = 0.4  # mean pause of a voice between two recordings
DISTANCE_DB = 12.0  # level of the farthest voice below the nearest one
ROOM_PROBABILITY = 0.7
PEAK = 0.5
SILENCE = 1e-4  # root mean square below which there is no speech
ATTEMPTS = 100  # silent recordings in a row, after which to give up


def make_babble(
    folder: str | Path,
    destination: str | Path,
    count: int = 24,
    seconds: float = 80.0,
    voices: tuple[int, int] = (3, 24),
    sample_rate: int = 16000,
    seed: int = 0,
    jobs: int | None = None,
) -> list[Path]:
    """Mixes recordings of speech to babble, to train on as noise.

    Each voice has a place, at some distance and mostly in a synthetic room,
    and speaks one randomly drawn recording after the other, with pauses.
    ``voices`` are the fewest and the most voices at a time; their number is
    drawn uniformly on a logarithmic scale.

    ``folder`` has mono recordings at any depth and rate; no speaker of
    validation or test should be among them. ``destination`` receives ``count``
    files of ``seconds`` each at ``sample_rate`` (Hz), ``babble_00.wav`` and so
    on, all or none; their paths are returned. The same seed and recordings
    give the same files. ``jobs`` is the number of threads; by default one for
    each CPU.

    Raises a :class:`phasen_sb.errors.UserError` if there is no such folder, a
    recording cannot be used or none has speech in it, or ``destination`` holds
    babble already or cannot be written to.
    """
    folder = existing_folder(folder, "the folder")
    destination = Path(destination).expanduser().absolute()
    check_apart(folder, "the folder", destination, "the destination")
    recordings = _check_files(
        list(find_audio(folder).values()), sample_rate, jobs
    )
    digits = max(2, len(str(count - 1)))
    names = [f"babble_{k:0{digits}d}.wav" for k in range(count)]
    try:
        destination.mkdir(parents=True, exist_ok=True)
        there = next(destination.glob("babble_*.wav"), None)
        if there:
            raise UserError(
                f"{there} exists already; remove the babble of that folder or "
                "name another."
            )
        with TemporaryDirectory(dir=destination, prefix=".babble_") as part:
            write = partial(
                _write_babble,
                seed=seed,
                recordings=recordings,
                length=round(seconds * sample_rate),
                voices=voices,
                sample_rate=sample_rate,
            )
            paths = [Path(part, name) for name in names]
            process_files(write, paths, jobs, "Babble")
            for path in paths:
                os.replace(path, destination / path.name)
    except OSError as error:
        raise UserError(
            f"{destination} cannot be filled ({error}); make room, or name "
            "another folder."
        ) from error
    return [destination / name for name in names]


def _check_files(paths, sample_rate, jobs):
    facts = process_files(inspect_audio, paths, jobs)
    for fact in facts:
        problem = fact.problem or find_rate_problem(fact.rate, sample_rate)
        if problem:
            raise UserError(f"{fact.path} {problem}; fix or remove it.")
    return facts


def _write_babble(path, seed, recordings, length, voices, sample_rate):
    generator = seeded_generator(f"babble {seed} {path.name}")
    low, high = (math.log(number) for number in voices)
    count = round(math.exp(low + (high - low) * _draw(generator)))
    room = Reverberation(ROOM_PROBABILITY, sample_rate)
    mix = torch.zeros(1, length)
    for _ in range(count):
        voice = _draw_voice(recordings, length, sample_rate, generator)
        level = dB_to_amplitude(-DISTANCE_DB * _draw(generator))
        mix += level * room(voice, generator)
    mix *= PEAK / mix.abs().max()
    # Encoded in memory: libsndfile would hide a full disk.
    encoded = io.BytesIO()
    sf.write(encoded, mix[0].numpy(), sample_rate, "PCM_16", format="WAV")
    path.write_bytes(encoded.getbuffer())


def _draw_voice(
    recordings: Sequence[AudioFile],
    length: int,
    sample_rate: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """Joins random recordings to one of ``[1, length]``."""
    parts: list[torch.Tensor] = []
    missing, silent = length, 0
    while missing > 0:
        one = recordings[int(_draw(generator) * len(recordings))]
        # The first recording starts before the noise does.
        start = 0 if parts else int(_draw(generator) * one.samples)
        # Only what is needed: a recording may last for hours.
        count = -(-missing * one.rate // sample_rate)
        with open_audio(one.path) as file:
            file.seek(start)
            samples = file.read(count, dtype="float32")
        loudness = np.sqrt(np.square(samples).mean()) if samples.size else 0
        if loudness < SILENCE:
            silent += 1
            if silent == ATTEMPTS:
                raise UserError(
                    f"{one.path} and others like it are silent; give "
                    "recordings of speech."
                )
            continue
        silent = 0
        speech = resample(samples / loudness, one.rate, sample_rate)
        pause = -math.log(1 - _draw(generator)) * PAUSE_SECONDS
        parts += [speech, torch.zeros(round(pause * sample_rate))]
        missing -= len(speech) + len(parts[-1])
    return torch.cat(parts)[None, :length]


def _draw(generator):
    return float(torch.rand((), generator=generator))
