"""Transcripts: what was said in each file, or what a recogniser heard."""

import os
import re
import unicodedata
from pathlib import Path

from phasen_sb.errors import UserError

# Whatever is neither a letter, a mark of one, a digit nor an apostrophe.
_NO_WORD = re.compile(r"[^\w']|_")


def split_words(text: str) -> list[str]:
    """Splits a text into words, without case and punctuation.

    Example
    -------
    >>> split_words("Don't stop -- it's the 2nd!")
    ["don't", 'stop', "it's", 'the', '2nd']
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    words = (word.strip("'") for word in _NO_WORD.sub(" ", text).split())
    return [word for word in words if word]


def read_transcripts(path: str | os.PathLike) -> dict[str, str]:
    """Reads the words of each file, by the file's name without suffix.

    ``path`` is a text file with a line ``NAME WORDS`` for each file, as Kaldi's
    recipes have it, or a folder of files ``NAME.txt``, as VoiceBank comes with.
    Raises UserError if it cannot be read, is empty or names a file twice.
    """
    path = Path(path).expanduser()
    try:
        if path.is_dir():
            texts = [
                (file.stem, file.read_text(encoding="utf-8-sig"))
                for file in sorted(path.glob("*.txt"))
            ]
        else:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            texts = [
                (parts[0], "".join(parts[1:]))
                for line in lines
                if (parts := line.split(maxsplit=1))
            ]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); give a text file with a line "
            "'NAME WORDS' for each audio file, or a folder of NAME.txt."
        ) from error
    transcripts: dict[str, str] = {}
    for name, text in texts:
        name = unicodedata.normalize("NFC", name)
        if name in transcripts:
            raise UserError(f"{path} names {name} twice; remove one of them.")
        transcripts[name] = text
    if not transcripts:
        raise UserError(f"{path} has no transcripts; give one with some.")
    return transcripts
