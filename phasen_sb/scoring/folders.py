"""Scores folders of enhanced files against a folder of clean ones."""

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from phasen_sb.audio.finding import find_audio
from phasen_sb.audio.resampling import RESAMPLER
from phasen_sb.errors import UserError
from phasen_sb.metrics.checks import MetricError
from phasen_sb.metrics.distortion import snr
from phasen_sb.metrics.pool import MetricPool
from phasen_sb.metrics.metric_report import MetricReport
from phasen_sb.scoring.audio import (
    SAMPLE_RATE,
    decode_mono,
    equal_lengths,
    read_mono,
)
from phasen_sb.utils.folders import existing_folder
from phasen_sb.utils.parallel import process_files

NOISY = "noisy"

# Pairs that wait in memory for a process.
BACKLOG = 64

_LISTED = 10


@dataclass
class System:
    """A folder of files to be scored, and what came of it.

    Arguments
    ---------
    name : str
        How tables and plots call it.
    folder : Path
        Where its files are.
    files : dict
        Its audio files by name.
    missing : list of str
        Clean files that it lacks.
    extra : list of str
        Its files that have no clean one.
    report : MetricReport, optional
        The scores.
    """

    name: str
    folder: Path
    files: dict[str, Path]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    report: MetricReport | None = None


@dataclass
class FolderScores:
    """All systems' scores, and what a reader of them ought to know.

    Arguments
    ---------
    systems : list of System
        The noisy input first, if it was given.
    input_snr : dict
        SNR in dB of the noisy input by file name, empty without it.
    notes : list of str
        On missing files, resampling and lengths, a sentence each.
    clean_folder : Path
        Where the references are.
    """

    systems: list[System]
    input_snr: dict[str, float]
    notes: list[str]
    clean_folder: Path


def name_systems(
    folders: Iterable[str], role: str = "The enhanced folder"
) -> dict[str, Path]:
    """Names each folder by what tells it from the others.

    Arguments
    ---------
    folders : iterable of str
        Paths of folders, or "NAME=PATH".
    role : str
        What errors call them.

    Returns
    -------
    dict
        Absolute paths by name: the folder's own name, with those above it
        where two are called the same.

    Raises
    ------
    UserError
        If a folder does not exist, or one is given twice.

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

    Arguments
    ---------
    clean_folder : str
        Folder of references.
    enhanced : iterable of str
        Folders of enhanced files, or "NAME=PATH".
    noisy_folder : str, optional
        Folder of the files before enhancement.

    Returns
    -------
    tuple
        The clean files by name, and the systems, the noisy one first.

    Raises
    ------
    UserError
        If a folder is missing, has no audio, is the clean folder itself or
        has no name in common with it.
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
                f"No file of {folder} is called as one of {clean_path} (for "
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


def score_folders(
    clean_folder: str,
    enhanced: Iterable[str],
    noisy_folder: str | None = None,
    metrics: Iterable[str] = ("pesq_wb", "stoi", "si_sdr"),
    jobs: int | None = None,
    timeout: float = 60.0,
) -> FolderScores:
    """Scores all files of all folders in parallel, with a progress bar.

    Files are paired by name, resampled to 16 kHz where needed, and compared
    over the shorter of two slightly different lengths.

    Arguments
    ---------
    clean_folder : str
        Folder of references.
    enhanced : iterable of str
        Folders of enhanced files, or "NAME=PATH".
    noisy_folder : str, optional
        Folder of the files before enhancement; it is scored as a system too.
    metrics : iterable of str
        See `phasen_sb.metrics.registry.METRICS`.
    jobs : int, optional
        Number of processes, by default one for each CPU.
    timeout : float
        Seconds that one file may take.

    Returns
    -------
    FolderScores
        With all reports filled in.

    Raises
    ------
    UserError
        If a folder is unfit, see `find_systems`, or a file cannot be used.
    """
    clean, systems = find_systems(clean_folder, enhanced, noisy_folder)
    notes = [note for system in systems for note in _pairing_notes(system)]
    with MetricPool(metrics, SAMPLE_RATE, jobs, timeout, BACKLOG) as pool:
        notes += _check_files(clean, systems, jobs)
        input_snr: dict[str, float] = {}
        total = sum(len(system.files) for system in systems)
        with tqdm(
            total=total, desc="Scoring", unit="file", disable=None, leave=False
        ) as bar:
            for system in systems:
                cut = {}
                for key, path in system.files.items():
                    pair = read_mono(clean[key]), read_mono(path)
                    pair, cut[key] = equal_lengths(*pair)
                    if system.name == NOISY:
                        with contextlib.suppress(MetricError):
                            input_snr[key] = snr(*pair)
                    future = pool.submit(key, *pair)
                    future.add_done_callback(lambda _: bar.update())
                system.report = pool.collect()
                notes += _length_notes(system, cut)
    return FolderScores(
        systems,
        input_snr,
        notes,
        existing_folder(clean_folder, "The clean folder"),
    )


def _check_files(
    clean: dict[str, Path], systems: list[System], jobs: int | None
) -> list[str]:
    """Decodes all files once, so that a bad one is named before the work.

    Returns notes on the folders that will be resampled.
    """
    used = [clean[key] for key in clean if any(key in s.files for s in systems)]
    used += [path for system in systems for path in system.files.values()]

    def check(path: Path) -> tuple[Path, int | str]:
        try:
            return path, decode_mono(path)[1]
        except UserError as error:
            return path, str(error)

    checked = process_files(check, used, jobs, "Checking")
    bad = [problem for _, problem in checked if isinstance(problem, str)]
    if bad:
        more = f" ({len(bad) - 1} more files are bad.)" if bad[1:] else ""
        raise UserError(bad[0] + more)
    rates = dict(checked)
    others = Counter(
        (path.parent, rate) for path, rate in checked if rate != SAMPLE_RATE
    )
    notes = [
        f"Resampled from {rate} Hz to {SAMPLE_RATE} Hz, as wide-band PESQ "
        f"needs, with {RESAMPLER['function']}: {count} files in {folder}."
        for (folder, rate), count in others.items()
    ]
    return notes + [
        f"{system.name} and the clean files have different sample rates, so "
        "what the resampler takes from one of them above 7 kHz counts as "
        "distortion and may cost 0.1 in PESQ-wb; enhance and score at one "
        "rate for numbers to publish."
        for system in systems
        if any(rates[p] != rates[clean[k]] for k, p in system.files.items())
    ]


def _length_notes(system: System, cut: dict[str, int]) -> list[str]:
    count = sum(difference > 0 for difference in cut.values())
    if not count:
        return []
    return [
        f"Cut to the shorter of clean and estimate in {system.name}: {count} "
        f"of {len(cut)} files, by up to {max(cut.values())} samples."
    ]


def _pairing_notes(system: System) -> list[str]:
    notes = []
    for keys, text in (
        (system.missing, "Missing"),
        (system.extra, "Left out for want of a clean file of that name"),
    ):
        if keys:
            more = ", ..." if len(keys) > _LISTED else ""
            names = ", ".join(keys[:_LISTED])
            notes.append(
                f"{text} in {system.folder}, {len(keys)} of "
                f"{len(keys) + len(system.files)} files: {names}{more}."
            )
    return notes
