"""The small corpus inside the package."""

from importlib import resources
from pathlib import Path


def sample_corpus() -> Path:
    """Returns the folder of the sample corpus, to be given as ``data_folder``.

    It holds 30 utterances of real speech in real noise at 16 kHz, about 75
    seconds in all, with the folders and names of VoiceBank-DEMAND: 20 to train
    on, 4 of speaker p226 to validate on, 6 to test on. ``ATTRIBUTION.md`` in
    the folder names sources and licences.
    """
    return Path(str(resources.files("phasen_sb.data").joinpath("sample")))
