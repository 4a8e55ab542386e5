"""Which files to enhance."""

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from phasen_sb.archives.manifests import is_manifest, read_manifest
from phasen_sb.audio.containers import MEDIA_SUFFIXES
from phasen_sb.audio.finding import AUDIO_SUFFIXES, no_audio, search_folder
from phasen_sb.audio.media import can_read_media
from phasen_sb.errors import UserError
from phasen_sb.utils.file_names import ENHANCED, RESIDUAL

EARLIER_OUTPUT = "output of an earlier run"
_OUTPUT_ENDINGS = (ENHANCED, RESIDUAL)


def find_inputs(
    names: Iterable[str | os.PathLike],
    output: str | os.PathLike | None = None,
) -> tuple[list[tuple[Path, Path]], dict[Path, str]]:
    """Finds the audio files that a user means.

    The names may be those of files, folders (searched to the bottom, see
    :func:`phasen_sb.audio.finding.search_folder`), patterns such as
    ``calls/*.wav``, and lists of files, see
    :func:`phasen_sb.archives.manifests.read_manifest`. Each file comes with
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
    found: dict[tuple[str, Path | None], tuple[Path, Path]] = {}
    named: set[str] = set()
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
        paths = list(map(os.path.abspath, files))
        for whole, file, inner in zip(paths, files, within, strict=True):
            # A list may name a file twice, to have two outputs in a folder.
            key = whole, None if output is None else inner
            if whole not in named:
                found.setdefault(key, (file, inner))
        named.update(paths)
    # What a shell makes of * has the outputs of an earlier run in it.
    stems = {os.path.splitext(path)[0] for path in named}
    for key in list(found):
        stem, ending = os.path.splitext(os.path.splitext(key[0])[0])
        if ending in _OUTPUT_ENDINGS and stem in stems:
            others[found.pop(key)[0]] = EARLIER_OUTPUT
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
