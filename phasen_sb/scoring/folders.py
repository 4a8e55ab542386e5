"""Scores folders of enhanced files against a folder of clean ones."""

import contextlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from phasen_sb.audio.lengths import find_contents
from phasen_sb.audio.resampling import RESAMPLER
from phasen_sb.errors import UserError
from phasen_sb.metrics.checks import MetricError
from phasen_sb.metrics.distortion import snr
from phasen_sb.metrics.pool import MetricPool
from phasen_sb.metrics.registry import METRICS, REFERENCE_FREE
from phasen_sb.scoring.audio import (
    SAMPLE_RATE,
    cut_to_equal_lengths,
    decode_mono,
    read_mono,
)
from phasen_sb.scoring.systems import (
    NOISY,
    FolderScores,
    System,
    existing_place,
    find_systems,
)
from phasen_sb.utils.parallel import process_files

# Pairs that wait in memory for a process.
BACKLOG = 64

_LISTED = 10


def score_folders(
    clean_folder: str | None,
    enhanced: Iterable[str],
    noisy_folder: str | None = None,
    metrics: Iterable[str] = ("pesq_wb", "stoi", "si_sdr"),
    jobs: int | None = None,
    timeout: float = 60.0,
    suffix: str | None = None,
) -> FolderScores:
    """Scores all files of all folders in parallel, with a progress bar.

    Files are paired by name, resampled to 16 kHz where needed, and compared
    over the shorter of two slightly different lengths.

    Arguments
    ---------
    clean_folder : str, optional
        Folder of references, or one of them; then the others are files, too.
        None if there are none: only measures without reference are possible.
    enhanced : iterable of str
        Folders of enhanced files, or "NAME=PATH".
    noisy_folder : str, optional
        Folder of the files before enhancement; it is scored as a system too.
    metrics : iterable of str
        Keys of :data:`phasen_sb.metrics.registry.METRICS`.
    jobs : int, optional
        Number of processes, by default one for each CPU.
    timeout : float
        Seconds that one file may take.
    suffix : str, optional
        What the names of enhanced files have at their end, and clean ones not.

    Returns
    -------
    FolderScores
        With all reports filled in.

    Raises
    ------
    UserError
        As :func:`phasen_sb.scoring.systems.find_systems` does, if a file
        cannot be used, or a measure needs a reference that is not there.
    """
    metrics = list(metrics)
    if clean_folder is None:
        check_reference_free(metrics)
    clean, systems = find_systems(clean_folder, enhanced, noisy_folder, suffix)
    notes = [note for system in systems for note in _describe_pairing(system)]
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
                    estimate = read_mono(path)
                    # Measures without reference do not look at the first.
                    reference = read_mono(clean[key]) if clean else estimate
                    pair, cut[key] = cut_to_equal_lengths(reference, estimate)
                    if clean and system.name == NOISY:
                        with contextlib.suppress(MetricError):
                            input_snr[key] = snr(*pair)
                    future = pool.submit(key, *pair)
                    future.add_done_callback(lambda _: bar.update())
                system.report = pool.collect()
                notes += _describe_lengths(system, cut)
    return FolderScores(
        systems,
        input_snr,
        notes,
        clean_folder and existing_place(clean_folder, "The clean folder"),
    )


def check_reference_free(metrics: Iterable[str]) -> None:
    """Raises UserError if one of the measures needs a clean signal."""
    needing = [m for m in metrics if METRICS[m].needs_reference]
    if needing:
        raise UserError(
            f"{', '.join(needing)} cannot be computed without clean files; of "
            "the measures, these can: "
            f"{', '.join(REFERENCE_FREE)}."
        )


def _check_files(
    clean: dict[str, Path], systems: list[System], jobs: int | None
) -> list[str]:
    """Decodes all files once, so that a bad one is named before the work.

    Returns notes on wrong headers, and on folders that will be resampled.
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
        f"{path}: {contents.note}"
        for path in used
        if (contents := find_contents(path))
    ]
    notes += [
        f"Resampled from {rate} Hz to {SAMPLE_RATE} Hz, the rate of all "
        f"measures, with {RESAMPLER['function']}: {count} files in {folder}."
        for (folder, rate), count in others.items()
    ]
    return notes + [
        f"{system.name} and the clean files have different sample rates, so "
        "what the resampler takes from one of them above 7 kHz counts as "
        "distortion and may cost 0.1 in PESQ-wb; enhance and score at one "
        "rate for numbers to publish."
        for system in systems
        if clean
        and any(rates[p] != rates[clean[k]] for k, p in system.files.items())
    ]


def _describe_lengths(system: System, cut: dict[str, int]) -> list[str]:
    count = sum(difference > 0 for difference in cut.values())
    if not count:
        return []
    return [
        f"Cut to the shorter of clean and estimate in {system.name}: {count} "
        f"of {len(cut)} files, by up to {max(cut.values())} samples."
    ]


def _describe_pairing(system: System) -> list[str]:
    notes = []
    if system.ending:
        notes.append(
            f"Scored in {system.folder}: files called NAME{system.ending}."
        )
    for keys, text in (
        (system.missing, "Missing"),
        (
            system.extra,
            "Left out for want of a counterpart of that name",
        ),
    ):
        if keys:
            more = ", ..." if len(keys) > _LISTED else ""
            names = ", ".join(keys[:_LISTED])
            notes.append(
                f"{text} in {system.folder}, {len(keys)} of "
                f"{len(keys) + len(system.files)} files: {names}{more}."
            )
    return notes
