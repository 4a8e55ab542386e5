"""Systems to be scored: their folders, named and paired with the clean one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from phasen_sb.audio.finding import NAMED, find_audio
from phasen_sb.errors import UserError
from phasen_sb.metrics.metric_report import MetricReport
from phasen_sb.utils.file_names import ENHANCED
from phasen_sb.utils.folders import existing_folder

NOISY = "noisy"


@dataclass
class System:
    """A folder of files to be scored, and their scores."""

    name: str  #: as tables and plots show it
    folder: Path
    files: dict[str, Path]  #: audio files by name
    missing: list[str] = field(default_factory=list)  #: clean files it lacks
    extra: list[str] = field(default_factory=list)  #: files without a clean one
    ending: str = ""  #: of the files' names, which the clean ones lack
    report: MetricReport | None = None


@dataclass
class FolderScores:
    """The scores of all systems, and what a reader should know about them."""

    systems: list[System]  #: the noisy input first, if it was given
    input_snr: dict[str, float]  #: of the noisy input in dB by file, or empty
    notes: list[str]  #: on missing files, resampling, lengths; a sentence each
    clean_folder: Path | None  #: None if there are no references


def name_systems(
    folders: Iterable[str],
    role: str = "The enhanced folder",
    existing: Callable[[str, str], Path] = existing_folder,
) -> dict[str, Path]:
    """Names each folder so that it differs from the others.

    Takes paths or "NAME=PATH", and returns absolute paths by name: the folder's
    own name, preceded by those of its parents where two are equal. Raises
    UserError, which calls the folders ``role``, if one does not exist, for
    which ``existing`` looks, or is given twice.

    Example
    -------
    >>> root = getfixture("tmp_path")
    >>> for run in "ab":
    ...     (root / run / "enhanced").mkdir(parents=True)
    >>> list(name_systems([f"{root}/a/enhanced", f"{root}/b/enhanced"]))
    ['a/enhanced', 'b/enhanced']
    >>> list(name_systems([f"PHASEN={root}/a/enhanced"]))
    ['PHASEN']
    """
    named: list[tuple[str, Path]] = []
    for given in folders:
        name, separator, path = given.partition("=")
        if not separator or Path(given).exists():
            name, path = "", given
        named.append((name, existing(path, role)))
    unnamed = [path for name, path in named if not name]
    systems: dict[str, Path] = {}
    for name, path in named:
        name = name or _distinguishing_end(path, unnamed)
        if name in systems:
            raise UserError(
                f'There are two systems "{name}"; give each folder once, or '
                f"call it something else: NAME={path}."
            )
        systems[name] = path
    return systems


def _distinguishing_end(path: Path, paths: list[Path]) -> str:
    for depth in range(1, len(path.parts)):
        end = path.parts[-depth:]
        if not any(p != path and p.parts[-depth:] == end for p in paths):
            break
    return "/".join(end)


def existing_place(path: str, role: str) -> Path:
    """Returns the absolute path of a file or a folder; see existing_folder."""
    file = Path(path).expanduser().absolute()
    return file if file.is_file() else existing_folder(path, role)


def find_systems(
    clean_folder: str | None,
    enhanced: Iterable[str],
    noisy_folder: str | None = None,
    suffix: str | None = None,
) -> tuple[dict[str, Path], list[System]]:
    """Finds the files of all folders and pairs them with the clean ones.

    Enhanced folders are paths or "NAME=PATH". The names of enhanced files may
    end in ``suffix``, where the clean ones do not; without it, in ``.enhanced``
    if ``phasen enhance`` wrote them beside their inputs. If ``clean_folder`` is
    a file, so are all others. If it is None, the names are those of the noisy
    files, or of the first enhanced folder. Returns the clean files by name, and
    the systems, the noisy one first. Raises UserError if a folder is missing,
    has no audio, is the clean folder itself or has no name in common with it.
    """
    folders = name_systems(enhanced, existing=existing_place)
    if noisy_folder is not None:
        noisy = existing_place(noisy_folder, "The noisy folder")
        if NOISY in folders:
            raise UserError(
                f"An enhanced folder is called {NOISY}, as the input is; call "
                f"it something else: NAME={folders[NOISY]}."
            )
        folders = {NOISY: noisy} | folders
    if clean_folder is None:
        named_like = next(iter(folders.values()))
        ending = suffix or ENHANCED
        names = {
            key if NOISY in folders else key.removesuffix(ending): path
            for key, path in _find_files(named_like).items()
        }
        return {}, [
            _pair(name, folder, names, named_like, suffix)
            for name, folder in folders.items()
        ]
    clean_path = existing_place(clean_folder, "The clean folder")
    clean = _find_files(clean_path)
    for name, folder in folders.items():
        if folder.resolve() == clean_path.resolve():
            raise UserError(
                f"{folder} is given both as clean and as {name}; give two "
                "folders."
            )
    return clean, [
        _pair(name, folder, clean, clean_path, suffix)
        for name, folder in folders.items()
    ]


def _pair(
    name: str,
    folder: Path,
    names: dict[str, Path],
    named_like: Path,
    suffix: str | None,
) -> System:
    """Finds the files of a system that have the given names."""
    if folder.is_file() != named_like.is_file():
        raise UserError(
            f"Of {named_like} and {folder} one is a file and one a folder; "
            "give two of a kind."
        )
    found = _find_files(folder)
    ending = "" if name == NOISY else _ending(found, names, suffix)
    files = {
        key.removesuffix(ending): path
        for key, path in found.items()
        if key.endswith(ending)
    }
    if folder.is_file():
        files = dict.fromkeys(names, folder)
    if not names.keys() & files.keys():
        guess = _guess(found, names)
        raise UserError(
            f"No file of {folder} has the name of one of {named_like} (for "
            f"example {next(iter(found))} there and {next(iter(names))} "
            f"here){f', followed by {ending}' if ending else ''}; name "
            "enhanced files as the clean ones, or give what their names "
            f"have at the end, such as --suffix {guess}."
        )
    return System(
        name,
        folder,
        {key: files[key] for key in names if key in files},
        missing=[key for key in names if key not in files],
        extra=[key for key in files if key not in names],
        ending=ending,
    )


def _find_files(place: Path) -> dict[str, Path]:
    return {place.stem: place} if place.is_file() else find_audio(place)


def _ending(found, clean, suffix):
    if suffix is not None:
        return suffix
    beside = any(f"{key}{ENHANCED}" in found for key in clean)
    return ENHANCED if beside else ""


def _guess(found, clean):
    """What the name of a file has in addition to a clean one's."""
    for file in list(found)[:NAMED]:
        for key in clean:
            if file.startswith(key) and file != key:
                return file.removeprefix(key)
    return "_enhanced"
