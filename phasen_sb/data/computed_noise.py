"""Files of computed noise."""

import io
from collections.abc import Sequence
from pathlib import Path

import soundfile as sf
import torch

from phasen_sb.augmentation.noise_families import FAMILIES
from phasen_sb.augmentation.synthetic_noise import SyntheticNoise
from phasen_sb.utils.files import write_atomically
from phasen_sb.utils.folders import make_writable_folder
from phasen_sb.utils.seeding import seeded_generator

PEAK = 0.5


def write_noise(
    destination: str | Path,
    families: Sequence[str] | None = None,
    count: int = 2,
    seconds: float = 5.0,
    sample_rate: int = 16000,
    seed: int = 0,
) -> list[Path]:
    """Writes noise of :class:`phasen_sb.SyntheticNoise` as WAV.

    ``destination`` receives ``count`` files of ``seconds`` for each family,
    ``wind_00.wav`` and so on; their paths are returned. The same seed gives
    the same files.

    Raises a :class:`phasen_sb.errors.UserError` if there is no such family, or
    the files cannot be written.
    """
    names = list(dict.fromkeys(FAMILIES if families is None else families))
    effects = [SyntheticNoise(1, sample_rate, [name]) for name in names]
    folder = make_writable_folder(destination, "of the noise")
    silence = torch.zeros(1, round(seconds * sample_rate))
    paths = []
    for name, effect in zip(names, effects, strict=True):
        for index in range(count):
            generator = seeded_generator(f"noise {seed} {name} {index}")
            noise = effect(silence, generator)[0]
            noise = PEAK * noise / noise.abs().max()
            # Encoded in memory: libsndfile would hide a full disk.
            encoded = io.BytesIO()
            sf.write(
                encoded, noise.numpy(), sample_rate, "PCM_16", format="WAV"
            )
            paths.append(folder / f"{name}_{index:02d}.wav")
            write_atomically(paths[-1], encoded.getvalue())
    return paths
