"""Systems to be scored: their folders, named and paired with the clean one."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from phasen_sb.audio.finding import find_audio
from phasen_sb.errors import UserError
from phasen_sb.metrics.metric_report import MetricReport
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
    report: MetricReport | None = None


@dataclass
class FolderScores:
    """The scores of all systems, and what a reader should know about them."""

    systems: list[System]  #: the noisy input first, if it was given
    input_snr: dict[str, float]  #: of the noisy input in dB by file, or empty
    notes: list[str]  #: on missing files, resampling, lengths; a sentence each
    clean_folder: Path


def name_systems(
    folders: Iterable[str], role: str = "The enhanced folder"
) -> dict[str, Path]:
    """Names each folder so that it differs from the others.

    Takes paths or "NAME=PATH", and returns absolute paths by name: the folder's
    own name, preceded by those of its parents where two are equal. Raises
    UserError, which calls the folders ``role``, if one does not exist or is
    given twice.

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
        if not separator or Path(given).is_dir():
            name, path = "", given
        named.append((name, existing_folder(path, role)))
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


def find_systems(
    clean_folder: str, enhanced: Iterable[str], noisy_folder: str | None = None
) -> tuple[dict[str, Path], list[System]]:
    """Finds the files of all folders and pairs them with the clean ones.

    Enhanced folders are paths or "NAME=PATH". Returns the clean files by name,
    and the systems, the noisy one first. Raises UserError if a folder is
    missing, has no audio, is the clean folder itself or has no name in common
    with it.
    """
    clean_path = existing_folder(clean_folder, "The clean folder")
    folders = name_systems(enhanced)
    if noisy_folder is not None:
        noisy = existing_folder(noisy_folder, "The noisy folder")
        if NOISY in folders:
            raise UserError(
                f"An enhanced folder is called {NOISY}, as the input is; call "
                f"it something else: NAME={folders[NOISY]}."
            )
        folders = {NOISY: noisy} | folders
    clean = find_audio(clean_path)
    systems = []
    for name, folder in folders.items():
        if folder.resolve() == clean_path.resolve():
            raise UserError(
                f"{folder} is given both as clean and as {name}; give two "
                "folders."
            )
        files = find_audio(folder)
        if not clean.keys() & files.keys():
            raise UserError(
                f"No file of {folder} has the name of one of {clean_path} (for "
                f"example {next(iter(files))} there and {next(iter(clean))} "
                "here); name enhanced files as the clean ones."
            )
        systems.append(
            System(
                name,
                folder,
                {key: files[key] for key in clean if key in files},
                missing=[key for key in clean if key not in files],
                extra=[key for key in files if key not in clean],
            )
        )
    return clean, systems
