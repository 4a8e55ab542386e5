"""Which files to enhance, and where to write the results."""

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from phasen_sb.audio.containers import MEDIA_SUFFIXES
from phasen_sb.audio.finding import (
    AUDIO_SUFFIXES,
    OTHER_SOUND,
    no_audio,
    search_folder,
)
from phasen_sb.audio.formats import FORMATS, AudioFormat, choose_format
from phasen_sb.audio.media import can_read_media, import_av
from phasen_sb.errors import UserError
from phasen_sb.inference.manifests import is_manifest, read_manifest
from phasen_sb.utils.file_names import ENHANCED, RESIDUAL

EARLIER_OUTPUT = "output of an earlier run"
_OUTPUT_ENDINGS = (ENHANCED, RESIDUAL)
_SUFFIX = re.compile(r"\.[A-Za-z]\w{0,4}")
# MPEG layer II can be read only.
_WRITTEN_AS = {".mp2": ".mp3"}


def find_inputs(
    names: Iterable[str | os.PathLike],
    output: str | os.PathLike | None = None,
) -> tuple[list[tuple[Path, Path]], dict[Path, str]]:
    """Finds the audio files that a user means.

    The names may be those of files, folders (searched to the bottom, see
    :func:`phasen_sb.audio.finding.search_folder`), patterns such as
    ``calls/*.wav``, and lists of files, see
    :func:`phasen_sb.inference.manifests.read_manifest`. Each file comes with
    its path within the folder it was found in. Outputs do not become inputs:
    what lies in the folder ``output`` or was written beside its input. Returns
    the files, and what was left out by its kind. Raises UserError if a folder
    or pattern has no audio in it, or is the output folder.
    """
    if output is not None:
        output = Path(output).expanduser()
    suffixes = AUDIO_SUFFIXES
    if can_read_media():
        suffixes |= MEDIA_SUFFIXES
    found: dict[str, tuple[Path, Path]] = {}
    others: dict[Path, str] = {}
    for name in map(str, names):
        path = Path(name).expanduser()
        if os.path.isdir(path):  # False for a name that is too long
            _check_apart(path, output)
            files, more = search_folder(path, output, suffixes)
            files = _take_outputs(files, more)
            if not files:
                raise no_audio(path, more, hint_at_media(more))
            others |= more
            within = [file.relative_to(path) for file in files]
        elif is_manifest(path):
            files, within = zip(*read_manifest(path), strict=True)
        elif os.path.exists(path) or not glob.has_magic(name):
            files, within = [path], [Path(path.name)]
        else:
            files = _match(os.path.expanduser(name), output)
            if not any(ending in name for ending in _OUTPUT_ENDINGS):
                files = _take_outputs(files, others)
            if not files:
                raise UserError(
                    f"No file matches {name}; check folder and pattern."
                )
            within = [Path(file.name) for file in files]
        for file, inner in zip(files, within, strict=True):
            found.setdefault(os.path.abspath(file), (file, inner))
    # What a shell makes of * has the outputs of an earlier run in it.
    stems = {os.path.splitext(path)[0] for path in found}
    for path in list(found):
        stem, ending = os.path.splitext(os.path.splitext(path)[0])
        if ending in _OUTPUT_ENDINGS and stem in stems:
            others[found.pop(path)[0]] = EARLIER_OUTPUT
    return list(found.values()), others


def hint_at_media(others: Mapping[Path, str]) -> str | None:
    """Says how to read what :func:`find_inputs` left out; None if there is no
    way."""
    kinds = sorted(MEDIA_SUFFIXES.intersection(others.values()))
    if can_read_media() or not kinds:
        return None
    return f'to read {", ".join(kinds)}, run pip install "phasen_sb[media]"'


def _check_apart(folder, output):
    if output is not None and os.path.realpath(output) == os.path.realpath(
        folder
    ):
        raise UserError(
            f"{folder} is both an input and the output folder; give another "
            "--output, or none to write NAME.enhanced.SUFFIX beside each file."
        )


def _match(pattern, output):
    """Lists the files that match; ** does not look into the output folder."""
    files = map(Path, sorted(glob.glob(pattern, recursive=True)))
    files = [file for file in files if file.is_file()]
    if "**" not in pattern or output is None:
        return files
    _check_apart(pattern.partition("**")[0] or ".", output)
    folder = Path(output).resolve()
    return [file for file in files if folder not in file.resolve().parents]


def _take_outputs(files, others):
    """Takes outputs out; those whose input is gone are said."""
    stems = {file.with_suffix("") for file in files}
    inputs = []
    for file in files:
        stem = file.with_suffix("")
        if not stem.name.endswith(_OUTPUT_ENDINGS):
            inputs.append(file)
        elif stem.with_suffix("") not in stems:
            others[file] = EARLIER_OUTPUT
    return inputs


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
    is_pattern = glob.has_magic(str(names[0])) and not os.path.exists(path)
    is_many = os.path.isdir(path) or is_manifest(path)
    return not is_many and not is_pattern


def name_outputs(
    inputs: Sequence[tuple[Path, Path]],
    output: str | os.PathLike | None = None,
    format: str | None = None,
) -> list[tuple[Path, Path]]:
    """Names one output for each input, and returns pairs of both.

    The inputs are those of :func:`find_inputs`. With one input ``output`` is a
    file if it has an audio suffix; else it is the folder that outputs go to,
    under the inputs' names. By default each goes beside its input. The name of
    a ``format`` such as ``flac`` becomes the suffix. Raises UserError if
    ``output`` or ``format`` is of a kind that cannot be written, or if an
    output would be an input, or that of two inputs.

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
