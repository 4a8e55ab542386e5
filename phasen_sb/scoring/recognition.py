"""A speech recogniser that installs with its model, to count word errors.

PocketSphinx is small, knows English alone and makes many more errors than
recognisers of today: it shows whether enhancement helps or hurts one, not how
good a good one would be. Transcripts of any other recogniser can be given as
files, see :func:`phasen_sb.scoring.transcripts.read_transcripts`.
"""

import importlib.util
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from phasen_sb.errors import UserError
from phasen_sb.scoring.audio import SAMPLE_RATE, read_mono
from phasen_sb.utils.parallel import process_files


def check_recogniser(name: str) -> None:
    """Raises UserError, before any work, if its package is not installed."""
    if importlib.util.find_spec(name) is None:
        raise UserError(
            f"The recogniser {name} is not installed; install it with: "
            'pip install "phasen_sb[asr]".'
        )


def recognise(
    files: Mapping[str, Path], jobs: int | None = None
) -> dict[str, str]:
    """Transcribes files with PocketSphinx, which knows English.

    Takes files by name and returns what was heard by the same names. Raises
    UserError if a file cannot be used, or the extra ``asr`` is not installed.
    """
    check_recogniser("pocketsphinx")
    from pocketsphinx import Decoder  # an extra

    # One for each thread: a decoder takes one utterance at a time.
    own = threading.local()

    def transcribe(path: Path) -> str:
        if not hasattr(own, "decoder"):
            own.decoder = Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")
        samples = np.clip(read_mono(path), -1, 1) * 32767
        own.decoder.start_utt()
        own.decoder.process_raw(
            samples.astype(np.int16).tobytes(), full_utt=True
        )
        own.decoder.end_utt()
        heard = own.decoder.hyp()
        return heard.hypstr if heard else ""

    texts = process_files(transcribe, list(files.values()), jobs, "Recognising")
    return dict(zip(files, texts, strict=True))
