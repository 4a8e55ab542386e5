"""Data: the sample corpus, VoiceBank-DEMAND, and recordings of one's own."""

from phasen_sb.data.datasets import make_datasets
from phasen_sb.data.extra_data import ExtraData
from phasen_sb.data.mixing import mix_at_snr
from phasen_sb.data.pairs import prepare_pairs
from phasen_sb.data.prepare import prepare_data
from phasen_sb.data.sample_corpus import sample_corpus
from phasen_sb.data.speech_and_noise import prepare_mix
from phasen_sb.data.voicebank import prepare_voicebank

__all__ = [
    "ExtraData",
    "download_voicebank",
    "make_datasets",
    "mix_at_snr",
    "prepare_data",
    "prepare_mix",
    "prepare_pairs",
    "prepare_voicebank",
    "sample_corpus",
]


def __getattr__(name: str):
    # Not imported above: ``python -m phasen_sb.data.download`` would warn that
    # the module it is about to run is imported already.
    if name == "download_voicebank":
        from phasen_sb.data.download import download_voicebank

        return download_voicebank
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
