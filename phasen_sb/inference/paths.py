"""Which files to enhance, and where to write the results."""

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from phasen_sb.audio.containers import MEDIA_SUFFIXES
from phasen_sb.audio.finding import AUDIO_SUFFIXES
from phasen_sb.audio.formats import FORMATS
from phasen_sb.audio.media import can_read_media
from phasen_sb.errors import UserError

#: Ends the stem of an output beside its input.
ENHANCED = ".enhanced"
#: Ends the stem of what was removed, beside the output.
RESIDUAL = ".residual"


def find_inputs(names: Iterable[str | os.PathLike]) -> list[tuple[Path, Path]]:
    """Finds the audio files that a user means.

    The names may be those of files, folders (searched to the bottom) and
    patterns such as ``calls/*.wav``. Each file comes with its path within the
    folder it was found in. What ``phasen enhance`` wrote beside its inputs is
    left out of folders and patterns. Raises UserError if a folder or pattern
    has no audio in it.
    """
    found = {}
    for name in map(str, names):
        path = Path(name).expanduser()
        if path.is_dir():
            inside = _list_audio(path)
            if not inside:
                raise UserError(
                    f"{path} has no audio files in it (WAV, FLAC, OGG, MP3, "
                    "AIFF, ...); check the path."
                )
            found |= {file: file.relative_to(path) for file in inside}
        elif path.exists() or not glob.has_magic(name):
            found[path] = Path(path.name)
        else:
            pattern = os.path.expanduser(name)
            matches = [
                file
                for file in map(Path, glob.glob(pattern, recursive=True))
                if file.is_file()
                and not file.stem.endswith((ENHANCED, RESIDUAL))
            ]
            if not matches:
                raise UserError(
                    f"No file matches {name}; check folder and pattern."
                )
            found |= {file: Path(file.name) for file in sorted(matches)}
    return list(found.items())


def names_one_file(names: Sequence[str | os.PathLike]) -> bool:
    """Tells a single file from a folder or a pattern, which may hold more.

    Example
    -------
    >>> [names_one_file(n) for n in (["a.wav"], ["*.wav"], ["a.wav", "b.wav"])]
    [True, False, False]
    """
    if len(names) != 1:
        return False
    path = Path(names[0]).expanduser()
    is_pattern = glob.has_magic(str(names[0])) and not path.exists()
    return not path.is_dir() and not is_pattern


def _list_audio(folder):
    files = []
    suffixes = AUDIO_SUFFIXES
    if can_read_media():
        suffixes |= MEDIA_SUFFIXES
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if not n.startswith("."))
        for name in sorted(names):
            file = Path(parent, name)
            if (
                file.suffix.lower() in suffixes
                and not file.stem.endswith((ENHANCED, RESIDUAL))
                and not name.startswith(".")
            ):
                files.append(file)
    return files


def name_outputs(
    inputs: Sequence[tuple[Path, Path]],
    output: str | os.PathLike | None = None,
    format: str | None = None,
) -> list[tuple[Path, Path]]:
    """Names one output for each input, and returns pairs of both.

    The inputs are those of :func:`find_inputs`. With one input ``output`` is a
    file if it has an audio suffix; else it is the folder that outputs go to,
    under the inputs' names. By default each goes beside its input. The name of
    a ``format`` such as ``flac`` becomes the suffix. Raises UserError if two
    inputs would go to one output.

    Example
    -------
    >>> name_outputs([(Path("in/a/x.mp3"), Path("a/x.mp3"))], "out", "flac")
    [(PosixPath('in/a/x.mp3'), PosixPath('out/a/x.flac'))]
    """
    pairs = []
    for source, relative in inputs:
        if output is None:
            target = name_output(source, format)
        elif len(inputs) == 1 and _is_file_name(output):
            target = Path(output).expanduser()
        else:
            target = Path(output).expanduser() / relative
            if format is not None:
                suffix = format.partition(":")[0].lower()
                target = target.with_suffix(f".{suffix}")
        pairs.append((source, target))
    sources = {}
    for source, target in pairs:
        other = sources.setdefault(target, source)
        if other != source:
            raise UserError(
                f"{other} and {source} would both be written to {target}; "
                "enhance them one after the other."
            )
    return pairs


def _is_file_name(output):
    path = Path(output)
    return path.suffix[1:].lower() in FORMATS and not path.is_dir()


def name_output(source: Path, format: str | None = None) -> Path:
    """Names an output beside its input.

    Example
    -------
    >>> name_output(Path("talks/interview.mp3"), format="wav:FLOAT").name
    'interview.enhanced.wav'
    """
    suffix = source.suffix
    if format is not None:
        suffix = "." + format.partition(":")[0].lower()
    return source.with_name(f"{source.stem}{ENHANCED}{suffix}")


def name_residual(target: Path) -> Path:
    """Names the file of what was removed, beside the output.

    Example
    -------
    >>> name_residual(Path("talks/interview.enhanced.mp4")).name
    'interview.residual.wav'
    """
    stem = target.stem.removesuffix(ENHANCED)
    return target.with_name(f"{stem}{RESIDUAL}.wav")


def check_residuals(pairs: Iterable[tuple[Path, Path]]) -> None:
    """Refuses outputs whose residuals would have one name.

    Raises UserError.
    """
    targets = {}
    for _, target in pairs:
        other = targets.setdefault(name_residual(target), target)
        if other != target:
            raise UserError(
                f"The residuals of {other} and {target} would both be "
                f"{name_residual(target)}; enhance them into two folders."
            )


def check_output(source: Path, target: Path, overwrite: bool) -> None:
    """Refuses an output that would destroy something.

    Raises UserError if it is the input or a folder, or if it exists and
    ``overwrite`` is false.
    """
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
    if target.suffix.lower() == source.suffix.lower():
        return None
    return target.suffix[1:].lower() or None
