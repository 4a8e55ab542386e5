"""Where to write what files become."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from phasen_sb.audio.containers import MEDIA_SUFFIXES
from phasen_sb.audio.finding import AUDIO_SUFFIXES, OTHER_SOUND
from phasen_sb.audio.formats import FORMATS, AudioFormat, choose_format
from phasen_sb.audio.media import import_av
from phasen_sb.errors import UserError
from phasen_sb.utils.file_names import ENHANCED, RESIDUAL

_SUFFIX = re.compile(r"\.[A-Za-z]\w{0,4}")
# MPEG layer II can be read only.
_WRITTEN_AS = {".mp2": ".mp3"}


def name_outputs(
    inputs: Sequence[tuple[Path, Path]],
    output: str | os.PathLike | None = None,
    format: str | None = None,
) -> list[tuple[Path, Path]]:
    """Names one output for each input, and returns pairs of both.

    ``inputs`` are files, each with its path within a folder. With one input
    ``output`` is a file if it has an audio suffix; else it is the folder that
    outputs go to, under the inputs' names. By default each goes beside its
    input. The name of a ``format`` such as ``flac`` becomes the suffix. Raises
    UserError if ``output`` or ``format`` is of a kind that cannot be written,
    or if an output would be an input, or that of two inputs.

    Example
    -------
    >>> name_outputs([(Path("in/a/x.mp3"), Path("a/x.mp3"))], "out", "flac")
    [(PosixPath('in/a/x.mp3'), PosixPath('out/a/x.flac'))]
    """
    if format is not None:  # before the first of many files fails
        chosen = choose_format(AudioFormat("WAV", "PCM_16"), format)
        if chosen.is_media:
            import_av(f"--format {format}")
    is_file = output is not None and _is_file_name(output, len(inputs))
    pairs = []
    for source, relative in inputs:
        if output is None:
            target = name_output(source, format)
        elif is_file:
            target = Path(output).expanduser()
        else:
            stem, suffix = _split_suffix(relative, format)
            folder = Path(output).expanduser() / relative.parent
            target = folder / f"{stem}{suffix}"
        pairs.append((source, target))
    sources: dict[str, Path] = {}
    inputs_by_path = {os.path.realpath(source): source for source, _ in inputs}
    for source, target in pairs:
        other = sources.setdefault(os.path.abspath(target), source)
        if other != source:
            raise UserError(
                f"{other} and {source} would both be written to {target}; "
                "enhance them one after the other."
            )
        other = inputs_by_path.get(os.path.realpath(target))
        if other is not None:
            raise UserError(
                f"{other} is an input, which the output of {source} would "
                "replace; give another --output."
            )
    return pairs


def _is_file_name(output, count):
    """Tells a file to write from a folder; refuses what is neither."""
    path = Path(output).expanduser()
    kind = path.suffix.lower()
    if os.path.isdir(path) or str(output).endswith(("/", os.sep)):
        return False
    if kind[1:] in FORMATS and count == 1:
        if kind in MEDIA_SUFFIXES:
            import_av(path)
        return True
    if kind[1:] in FORMATS:
        raise UserError(
            f"--output {output} names one file, but there are {count} inputs; "
            "give a folder."
        )
    looks_like_one = kind in OTHER_SOUND | AUDIO_SUFFIXES
    if looks_like_one or (count == 1 and _SUFFIX.fullmatch(kind)):
        raise UserError(
            f"--output {output}: files of the kind {kind} cannot be written; "
            f"give one of {', '.join(FORMATS)}, or a folder, with / at its end."
        )
    return False


def _split_suffix(path, format):
    """The stem of an output's name, and the suffix that ``format`` gives it.

    What follows a dot in ``2024.11.27`` or ``Dr. No`` is no suffix.
    """
    suffix = path.suffix if _SUFFIX.fullmatch(path.suffix) else ""
    stem = path.name.removesuffix(suffix)
    if format is not None:
        return stem, "." + format.partition(":")[0].lower()
    return stem, _WRITTEN_AS.get(suffix.lower(), suffix)


def name_output(source: Path, format: str | None = None) -> Path:
    """Names an output beside its input.

    Example
    -------
    >>> name_output(Path("talks/interview.mp3"), format="wav:FLOAT").name
    'interview.enhanced.wav'
    """
    stem, suffix = _split_suffix(source, format)
    return source.with_name(f"{stem}{ENHANCED}{suffix}")


def name_residual(target: Path) -> Path:
    """Names the file of what was removed, beside the output.

    Example
    -------
    >>> name_residual(Path("talks/interview.enhanced.mp4")).name
    'interview.residual.wav'
    """
    stem = _split_suffix(target, None)[0].removesuffix(ENHANCED)
    return target.with_name(f"{stem}{RESIDUAL}.wav")


def check_residuals(pairs: Iterable[tuple[Path, Path]]) -> None:
    """Refuses residuals that would be an input, an output or one another.

    Raises UserError.
    """
    pairs = list(pairs)
    files = {os.path.realpath(file) for pair in pairs for file in pair}
    targets: dict[Path, Path] = {}
    for _, target in pairs:
        residual = name_residual(target)
        other = targets.setdefault(residual, target)
        if other != target:
            raise UserError(
                f"The residuals of {other} and {target} would both be "
                f"{residual}; enhance them into two folders."
            )
        if os.path.realpath(residual) in files:
            raise UserError(
                f"{residual}, the residual of {target}, would replace another "
                "input or output; give another --output."
            )


def check_output(source: Path, target: Path, overwrite: bool) -> None:
    """Refuses an output that would destroy something.

    Raises UserError if it is the input or a folder, or if it exists and
    ``overwrite`` is false.
    """
    if len(os.fsencode(target.name)) > 255:
        raise UserError(
            f"{target} cannot be written: its name has more than 255 bytes; "
            "give a shorter one with --output."
        )
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(
            f"{target} is the input itself; give another output file."
        )
    if target.is_dir():
        raise UserError(f"{target} is a folder; give an output file.")
    if target.exists() and not overwrite:
        raise UserError(
            f"{target} exists already; give --overwrite (overwrite=True) to "
            "replace it, or another output file."
        )


def format_by_suffix(source: Path, target: Path) -> str | None:
    """Names the format that an output's suffix asks for.

    None where it has none, or the same as the input.
    """
    if target.suffix.lower() in (source.suffix.lower(), ENHANCED):
        return None
    return target.suffix[1:].lower() or None
