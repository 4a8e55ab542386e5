"""What ``phasen score`` needs to count word errors: who said, who heard."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phasen_sb.errors import UserError
from phasen_sb.scoring.recognition import check_recogniser, recognise
from phasen_sb.scoring.systems import System
from phasen_sb.scoring.transcripts import read_transcripts
from phasen_sb.scoring.word_errors import score_words


@dataclass
class SpokenWords:
    """The words spoken in files, and what was heard of them by system."""

    #: By file; None if the recogniser's own of the clean files are to do.
    reference: dict[str, str] | None
    heard: dict[str, dict[str, str]]  # by system and file, from the user
    recogniser: str | None  # that of the other systems
    clean: Mapping[str, Path]
    systems: list[System]

    @classmethod
    def read(
        cls,
        transcripts: str | None,
        recognised: Iterable[str],
        recogniser: str | None,
        clean: Mapping[str, Path],
        systems: list[System],
    ) -> "SpokenWords | None":
        """Reads transcripts and checks, before any work, that they fit.

        Arguments
        ---------
        transcripts : str, optional
            File or folder of what was said, see
            :func:`phasen_sb.scoring.transcripts.read_transcripts`.
        recognised : iterable of str
            "SYSTEM=PATH" of what was heard, in the same form.
        recogniser : str, optional
            Transcribes the files of all other systems.
        clean : dict
            Clean files by name; empty if there are none.
        systems : list of System
            Those to be scored.

        Returns
        -------
        SpokenWords or None
            None if no words are to be counted.

        Raises
        ------
        UserError
            If a file cannot be read, or something is missing.
        """
        heard = {}
        names = [system.name for system in systems]
        for given in recognised:
            name, separator, path = given.partition("=")
            if not separator or name not in names:
                raise UserError(
                    f"--recognised {given} names none of the systems; give "
                    f"SYSTEM=TEXT, where SYSTEM is one of {', '.join(names)}."
                )
            heard[name] = read_transcripts(path)
        if transcripts is None and recogniser is None and not heard:
            return None
        if recogniser:
            check_recogniser(recogniser)
        elif not heard:
            raise UserError(
                "--transcripts needs what was heard, too: give --recognised or "
                "--recogniser."
            )
        if transcripts is None and not (recogniser and clean):
            raise UserError(
                "Word errors need what was said: give --transcripts, or "
                "--recogniser with --clean."
            )
        reference = read_transcripts(transcripts) if transcripts else None
        read = {f"--recognised {name}": texts for name, texts in heard.items()}
        if reference is not None:
            read["--transcripts"] = reference
        known = {key for system in systems for key in system.files}
        for option, texts in read.items():
            if not known & texts.keys():
                raise UserError(
                    f"{option} names none of the files, such as {min(known)}; "
                    "give a line 'NAME WORDS' or a file NAME.txt for each."
                )
        return cls(reference, heard, recogniser, clean, systems)

    def score(self, jobs: int | None = None) -> dict[str, Any]:
        """Transcribes what is to be transcribed and counts the word errors.

        Returns what :func:`phasen_sb.scoring.word_errors.score_words` does, and
        "source", a sentence on who said and who heard.
        """
        heard = {}
        for system in self.systems:
            if system.name in self.heard:
                heard[system.name] = self.heard[system.name]
            elif self.recogniser:
                heard[system.name] = recognise(system.files, jobs)
        said = "as the transcripts say"
        reference = self.reference
        if reference is None:
            reference = recognise(self.clean, jobs)
            said = "as the recogniser hears them in the clean files"
        by = self.recogniser or "the recogniser of --recognised"
        return {
            "source": f"Word errors of {by}, words {said}, over all files:",
            **score_words(reference, heard),
        }
