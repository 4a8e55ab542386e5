"""Finds all files of a data set that cannot be trained on, and names them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from phasen_sb.audio.checking import AudioFile
from phasen_sb.audio.resampling import find_rate_problem
from phasen_sb.data.splits import Splits
from phasen_sb.errors import UserError
from phasen_sb.utils.files import write_atomically

LISTED = 20  # bad files named in the error itself


def find_bad_files(
    splits: Splits,
    facts: Mapping[Path, AudioFile],
    sample_rate: int,
    promised_rates: Mapping[Path, int],
) -> list[tuple[Path, str]]:
    """Finds the files that cannot be used, alone or as a pair.

    ``facts`` are those of :func:`phasen_sb.audio.checking.inspect_audio`,
    ``sample_rate`` is the rate the network works at (Hz), and
    ``promised_rates`` are those (Hz) that the names of the files' folders
    promise. Each bad file is returned with what is wrong with it.
    """
    found = []
    for path, fact in facts.items():
        problem = fact.problem
        promised = promised_rates.get(path, fact.rate)
        if not problem and fact.rate != promised:
            problem = (
                f"is at {fact.rate} Hz, but the name {path.parent.name} "
                f"stands for {promised} Hz; rename it or resample"
            )
        problem = problem or find_rate_problem(fact.rate, sample_rate)
        if problem:
            found.append((path, problem))
    bad = {path for path, _ in found}
    for items in splits.values():
        for entry in items.values():
            if not {"noisy_wav", "clean_wav"} <= entry.keys():
                continue
            noisy, clean = entry["noisy_wav"], entry["clean_wav"]
            if bad & {noisy, clean}:
                continue
            if problem := _find_difference(facts[noisy], facts[clean]):
                found.append((noisy, problem))
    return found


def _find_difference(noisy: AudioFile, clean: AudioFile) -> str | None:
    if noisy.rate != clean.rate:
        return f"is at {noisy.rate} Hz, {clean.path} at {clean.rate} Hz"
    if noisy.samples != clean.samples:
        return f"has {noisy.samples} samples, {clean.path} has {clean.samples}"
    return None


def raise_bad_files(
    problems: Sequence[tuple[Path, str]], checked: int, save_folder: str | Path
) -> None:
    """Raises one ``UserError`` that names all bad files, if there are any.

    ``problems`` are the bad files, each with what is wrong with it, of the
    ``checked`` files in all. If the list is too long for the message, all of
    it is written to ``bad_files.txt`` in ``save_folder``.
    """
    if not problems:
        return
    lines = [f"{path}: {problem}" for path, problem in problems]
    message = (
        f"{len(lines)} of {checked} audio files cannot be used; fix or remove "
        "them, with their partners, and run again:\n"
    )
    message += "\n".join(f"  {line}" for line in lines[:LISTED])
    if len(lines) > LISTED:
        full_list = Path(save_folder) / "bad_files.txt"
        write_atomically(full_list, "\n".join(lines) + "\n")
        message += f"\n  ... and {len(lines) - LISTED} more, all in {full_list}"
    raise UserError(message)
