"""Excerpts of the sample corpus, as small corpora."""

import numpy as np
import soundfile

from phasen_sb.data import sample_corpus

RATE = 16000


def pairs_of(split, count):
    """The first seconds of sample utterances, as (noisy, clean)."""
    root = sample_corpus()
    names = sorted((root / f"clean_{split}_wav_16k").iterdir())[:count]
    return [
        [
            soundfile.read(
                root / f"{kind}_{split}_wav_16k" / name.name,
                start=RATE // 2,
                frames=RATE,
                dtype="float32",
            )[0]
            for kind in ("noisy", "clean")
        ]
        for name in names
    ]


def write_pair(folder, name, noisy, clean):
    """Writes a pair into ``folder/noisy...`` and ``folder/clean...``."""
    for kind, wave in (("noisy", noisy), ("clean", clean)):
        path = folder.with_name(folder.name.format(kind)) / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.asarray(wave), RATE, subtype="FLOAT")
