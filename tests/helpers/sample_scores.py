"""The sample corpus, and systems that remove a share of its noise."""

from pathlib import Path

import numpy as np
import soundfile as sf
import torch
import torchaudio

from phasen_sb.data import sample_corpus

CLEAN = sample_corpus() / "clean_testset_wav_16k"
NOISY = sample_corpus() / "noisy_testset_wav_16k"
FILES = sorted(path.stem for path in CLEAN.glob("*.flac"))
QUICK = ["--metrics", "si_sdr", "--jobs", "1"]


def read(folder: Path, name: str) -> np.ndarray:
    return sf.read(folder / f"{name}.flac")[0]


def enhanced_folder(folder: Path, amount: float, rate: int = 16000) -> Path:
    """Removes a share of the noise, as a perfect system would."""
    folder.mkdir(parents=True)
    for name in FILES:
        clean, noisy = read(CLEAN, name), read(NOISY, name)
        samples = noisy + amount * (clean - noisy)
        if rate != 16000:
            samples = torchaudio.functional.resample(
                torch.tensor(samples), 16000, rate, lowpass_filter_width=64
            ).numpy()
        sf.write(folder / f"{name}.wav", samples, rate, subtype="FLOAT")
    return folder
