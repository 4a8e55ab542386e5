"""Small corpora that recipes train on in a second."""

import os

# Before PyTorch is imported: networks of tests are too small to be shared
# among threads, which only wait for each other on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import soundfile
from helpers.corpora import RATE, pairs_of, write_pair


@pytest.fixture(scope="session")
def voicebank(tmp_path_factory):
    """7 training, 2 validation and 3 test pairs, in VoiceBank's layout."""
    root = tmp_path_factory.mktemp("voicebank")
    waves = pairs_of("trainset_28spk", 9)
    waves[1] = [wave[:3000] for wave in waves[1]]  # shorter than the crop
    names = [f"p001_{i}" for i in range(7)] + ["p226_1", "p287_1"]
    for name, pair in zip(names, waves, strict=True):
        write_pair(root / "{}_trainset_28spk_wav_16k", name, *pair)
    for i, pair in enumerate(pairs_of("testset", 3)):
        write_pair(root / "{}_testset_wav_16k", f"p232_{i}", *pair)
    return root


@pytest.fixture(scope="session")
def speech_and_noise(tmp_path_factory):
    """Folders of 9 clean files and 4 noises."""
    root = tmp_path_factory.mktemp("mix")
    waves = pairs_of("trainset_28spk", 9)
    for folder in ("speech", "noise"):
        (root / folder).mkdir()
    for i, (noisy, clean) in enumerate(waves):
        soundfile.write(root / "speech" / f"{i}.wav", clean, RATE)
        if i < 4:
            noise = noisy[: RATE // (i + 1)] - clean[: RATE // (i + 1)]
            soundfile.write(root / "noise" / f"{i}.wav", noise, RATE)
    return root


@pytest.fixture
def make_brain(tmp_path, voicebank):
    """Builds `helpers.small_brain.build_brain`'s on the corpus above."""
    from helpers.small_brain import build_brain  # with it PyTorch

    brains = []

    def make(*args, **kwargs):
        brains.append(build_brain(tmp_path / "out", voicebank, *args, **kwargs))
        return brains[-1]

    yield make
    for brain in brains:
        brain.close()
