"""Babble: the noise of many voices, made of recordings of speech.

Authors
 * The phasen_sb authors 2026
"""

import io
import math
from functools import partial
from pathlib import Path

import soundfile as sf
import torch
from speechbrain.processing.signal_processing import dB_to_amplitude
from torchaudio.functional import resample

from phasen_sb.augmentation.effects import Reverberation
from phasen_sb.data.audio_check import inspect_audio
from phasen_sb.data.files import (
    check_apart,
    existing_folder,
    find_audio,
    process_files,
    write_atomically,
)
from phasen_sb.errors import UserError
from phasen_sb.seeding import seeded_generator

PAUSE_SECONDS = 0.4  # mean of a voice's pauses between two recordings
DISTANCE_DB = 12.0  # the farthest voice's level below the nearest one's
ROOM_PROBABILITY = 0.7
PEAK = 0.5


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

    A voice says one randomly drawn recording after the other, with pauses,
    from a distance of its own and mostly in a synthetic room.

    Arguments
    ---------
    folder : str or pathlib.Path
        Folder with mono recordings of speech, at any depth and rate. No
        voice of validation or test should be among them.
    destination : str or pathlib.Path
        Receives ``babble_00.wav`` and so on.
    count : int
        Number of files.
    seconds : float
        Length of each.
    voices : tuple of int
        Fewest and most voices at a time; low numbers are as frequent as high
        ones on a logarithmic scale.
    sample_rate : int
        Of the files (Hz).
    seed : int
        The same seed and recordings give the same files.
    jobs : int, optional
        Number of threads; default one for each CPU.

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    UserError
        If there is no such folder, a recording cannot be used, or a file is
        there already or cannot be written.

    Example
    -------
    >>> from phasen_sb.data import sample_corpus
    >>> speech = sample_corpus() / "clean_trainset_28spk_wav_16k"
    >>> out = getfixture("tmp_path") / "noise"
    >>> [path.name for path in make_babble(speech, out, 1, 2.0)]
    ['babble_00.wav']
    """
    folder = existing_folder(folder, "the folder")
    destination = Path(destination).expanduser().absolute()
    check_apart(folder, "the folder", destination, "the destination")
    if destination.exists() and not destination.is_dir():
        raise UserError(f"{destination} is a file; name a folder.")
    digits = max(2, len(str(count - 1)))
    files = [destination / f"babble_{k:0{digits}d}.wav" for k in range(count)]
    for path in files:
        if path.exists():
            raise UserError(f"{path} is there already; name another folder.")
    recordings = list(find_audio(folder).values())
    for fact in process_files(inspect_audio, recordings, jobs):
        if fact.problem:
            raise UserError(f"{fact.path} {fact.problem}; mend or remove it.")
    length = round(seconds * sample_rate)
    write = partial(_write, files, recordings, length, voices, sample_rate)
    process_files(partial(write, seed), range(count), jobs, "Babble")
    return files


def _write(files, recordings, length, voices, sample_rate, seed, index):
    generator = seeded_generator(f"babble {seed} {index}")
    low, high = (math.log(number) for number in voices)
    count = round(math.exp(low + (high - low) * _draw(generator)))
    room = Reverberation(ROOM_PROBABILITY, sample_rate)
    mix = torch.zeros(1, length)
    for _ in range(count):
        voice = _voice(recordings, length, sample_rate, generator)
        level = dB_to_amplitude(-DISTANCE_DB * _draw(generator))
        mix += level * room(voice, generator)
    mix *= PEAK / mix.abs().max().clamp(min=1e-6)
    content = io.BytesIO()
    sf.write(content, mix[0].numpy(), sample_rate, "PCM_16", format="WAV")
    write_atomically(files[index], content.getvalue())


def _voice(recordings, length, sample_rate, generator):
    """Says random recordings ``[1, length]``, from the midst of the first."""
    parts = []
    missing = length
    while missing > 0:
        path = recordings[int(_draw(generator) * len(recordings))]
        samples, rate = sf.read(path, dtype="float32")
        speech = resample(torch.from_numpy(samples), rate, sample_rate)
        speech = speech / speech.square().mean().sqrt().clamp(min=1e-6)
        if not parts:
            speech = speech[int(_draw(generator) * len(speech)) :]
        pause = -math.log(1 - _draw(generator)) * PAUSE_SECONDS
        parts += [speech, torch.zeros(round(pause * sample_rate) + 1)]
        missing -= len(parts[-2]) + len(parts[-1])
    return torch.cat(parts)[None, :length]


def _draw(generator):
    return float(torch.rand((), generator=generator))
