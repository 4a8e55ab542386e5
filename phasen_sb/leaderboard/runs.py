"""Reads what ``recipes/train.py`` and ``phasen score`` wrote."""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phasen_sb.errors import UserError
from phasen_sb.leaderboard.entries import (
    NO,
    SCORES,
    SELF_MEASURED,
    TEST_SET,
    UNKNOWN,
    YES,
    Entry,
)
from phasen_sb.leaderboard.recordings import FolderAudio, RunAudio
from phasen_sb.losses.objective import METRIC_LOSSES
from phasen_sb.metrics.metric_report import MetricReport
from phasen_sb.models.cost import ModelCost, find_model, find_model_cost
from phasen_sb.models.loading import check_file
from phasen_sb.scoring.sanity import is_literature_data
from phasen_sb.scoring.statistics import compute_statistics
from phasen_sb.scoring.systems import NOISY, name_systems
from phasen_sb.utils.file_names import (
    RESULTS,
    SCORES as RECORD,
    SCORES_PER_FILE,
)
from phasen_sb.utils.files import read_json

#: Losses that do not optimise a metric.
PLAIN_LOSSES = {
    "compressed_complex_loss",
    "si_snr_loss",
    "mse_loss",
    "l1_loss",
}

_LISTED = 5
_FIX = "run what wrote it again"


@dataclass
class Run:
    """One of our systems: its row, that of its input, and its audio."""

    entry: Entry
    noisy: Entry | None = None  # None if the input was not scored
    #: {file: {metric: score}}, of the enhanced files.
    per_file: dict[str, dict[str, float]] = field(default_factory=dict)
    #: The same before enhancement.
    noisy_per_file: dict[str, dict[str, float]] = field(default_factory=dict)
    #: Finds the files to listen to; None if it is not known where they are.
    audio: RunAudio | FolderAudio | None = None


def read_runs(folders: Iterable[str], trust: bool = False) -> list[Run]:
    """Reads our runs, in the order given.

    Each folder, or "NAME=FOLDER", has ``results.json`` (a training run) or
    ``scores.json`` (from ``phasen score``; each of its systems is a run).
    ``trust`` is for models of other classes than ours, to count their size,
    and for results that are links or huge.

    Raises a :class:`phasen_sb.errors.UserError` if a folder is missing, given
    twice, or holds no results, or damaged ones.
    """
    runs: list[Run] = []
    for name, folder in name_systems(folders, "The folder of --runs").items():
        if not trust:
            for file in (RESULTS, RECORD, SCORES_PER_FILE):
                check_file(folder / file, folder.resolve())
        if (folder / RESULTS).is_file():
            runs.append(_read_training(name, folder, trust))
        elif (folder / RECORD).is_file():
            runs += _read_scored_systems(name, folder, trust)
        else:
            raise UserError(_explain_no_results(folder))
    return runs


def _explain_no_results(folder: Path) -> str:
    within = sorted(
        {
            str(path.parent)
            for name in (RESULTS, RECORD)
            for path in folder.rglob(name)
        }
    )
    message = f"{folder} holds neither {RESULTS} nor {RECORD}; "
    if within:
        more = ", ..." if within[_LISTED:] else ""
        return message + f"give {', '.join(within[:_LISTED])}{more}."
    return message + (
        "give the output folder of a finished training, or the --out folder "
        "of phasen score."
    )


def _explain_damage(path: Path, error: Exception) -> UserError:
    reason = f"{type(error).__name__}: {error}"
    return UserError(f"{path} is not what phasen_sb writes ({reason}); {_FIX}.")


def _read_training(name: str, folder: Path, trust: bool) -> Run:
    path = folder / RESULTS
    results = read_json(path, _FIX)
    try:
        test = results["test"]
        means = {k: _select_scores(test[k]) for k in ("noisy", "enhanced")}
        files = test["enhanced"]["utterances"]
        seed, epoch = results["seed"], results["epoch"]
        chosen_by = results["selected_by"]
        training = _describe_training(results)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _explain_damage(path, error) from error
    reports = _read_training_scores(folder / SCORES_PER_FILE, means["enhanced"])
    intervals = {key: _compute_intervals(r) for key, r in reports.items()}
    entry = _make_entry(
        name,
        means["enhanced"],
        intervals["enhanced"],
        _describe_test_data(files, means["noisy"].get("pesq_wb")),
        folder,
        find_model_cost(folder, trust),
        protocol=f"epoch {epoch}, chosen by {chosen_by}, seed {seed}",
        selected_on_test=UNKNOWN if "test" in chosen_by else NO,
        **training,
    )
    return Run(
        entry,
        _make_input_entry(entry, name, means["noisy"], intervals["noisy"]),
        reports["enhanced"].scores,
        reports["noisy"].scores,
        RunAudio(folder),
    )


def _describe_training(results: dict[str, Any]) -> dict[str, str]:
    """Reads from a training's results what data and metrics it used."""
    # The weights that a training started from may have seen any data.
    otherwise = UNKNOWN if results.get("init_from") else NO
    keys = ("extra_clean_folder", "extra_noise_folder")
    losses = results.get("losses") or []
    aims = [METRIC_LOSSES[name] for name in losses if name in METRIC_LOSSES]
    plain = losses and PLAIN_LOSSES.issuperset(losses)
    return {
        "extra_data": YES if any(map(results.get, keys)) else otherwise,
        "metric_optimised": ", ".join(aims)
        or (otherwise if plain else UNKNOWN),
    }


def _describe_training_of(enhanced: Path, trust: bool) -> dict[str, str]:
    """The same for the model whose folder contains enhanced files."""
    model = find_model(enhanced)
    path = model and model / RESULTS
    if not path or not path.is_file():
        return {}
    if not trust:
        check_file(path, model.resolve())
    results = read_json(path, _FIX)
    try:
        return _describe_training(results)
    except (TypeError, AttributeError) as error:
        raise _explain_damage(path, error) from error


def _read_scored_systems(name: str, folder: Path, trust: bool) -> list[Run]:
    path = folder / RECORD
    record = read_json(path, _FIX)
    try:
        systems = record["systems"]
        noisy = systems.get(NOISY)
        noisy_pesq = noisy and noisy["mean"].get("pesq_wb")
        known = {key: _select_scores(s["mean"]) for key, s in systems.items()}
        intervals = {
            key: _select_intervals(s["ci95"]) for key, s in systems.items()
        }
        places = {key: Path(s["folder"]) for key, s in systems.items()}
        counts = {key: max(s["n"].values()) for key, s in systems.items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _explain_damage(path, error) from error
    per_file = _read_system_scores(folder / SCORES_PER_FILE)
    clean = record.get("clean_folder")
    enhanced = [key for key in systems if key != NOISY]
    runs = []
    for key in enhanced:
        entry = _make_entry(
            name if len(enhanced) == 1 else f"{name}: {key}",
            known[key],
            intervals[key],
            _describe_test_data(counts[key], noisy_pesq),
            folder,
            find_model_cost(places[key], trust),
            **_describe_training_of(places[key], trust),
        )
        run = Run(
            entry,
            per_file=per_file.get(key, {}),
            noisy_per_file=per_file.get(NOISY, {}),
        )
        if noisy:
            run.noisy = _make_input_entry(
                entry, name, known[NOISY], intervals[NOISY]
            )
            if clean:
                run.audio = FolderAudio(places[NOISY], places[key], Path(clean))
        runs.append(run)
    return runs


def _make_entry(
    system: str,
    scores: dict[str, float],
    intervals: dict[str, tuple[float, float]],
    test_data: str,
    folder: Path,
    cost: ModelCost | None,
    protocol: str = "",
    selected_on_test: str = UNKNOWN,
    extra_data: str = NO,
    metric_optimised: str = UNKNOWN,
) -> Entry:
    known_network = cost is not None and cost.network == "PHASEN"
    latency = cost.latency if cost else None
    causal = UNKNOWN
    if known_network:
        causal = NO if latency is None else YES
    return Entry(
        system=system,
        protocol=protocol,
        year="",
        domain="magnitude and phase" if known_network else UNKNOWN,
        causal=causal,
        latency_ms=latency,
        parameters_M=cost and cost.parameters / 1e6,
        macs_G_per_s=cost and cost.macs_per_second / 1e9,
        scores=scores,
        extra_data=extra_data,
        evidence=SELF_MEASURED,
        selected_on_test=selected_on_test,
        metric_optimised=metric_optimised,
        retracted=NO,
        trainings="1" if protocol else "",
        source=str(Path(folder.parent.name, folder.name)),
        checked="here",
        intervals={m: i for m, i in intervals.items() if m in scores},
        test_data=test_data,
    )


def _make_input_entry(
    entry: Entry,
    name: str,
    scores: dict[str, float],
    intervals: dict[str, tuple[float, float]],
) -> Entry:
    """The row of the audio before enhancement, which nothing was trained on."""
    return replace(
        entry,
        system=f"Noisy input of {name}",
        protocol="",
        domain="unprocessed",
        causal=YES,
        parameters_M=None,
        macs_G_per_s=None,
        scores=scores,
        extra_data=NO,
        selected_on_test=NO,
        metric_optimised=NO,
        intervals={m: i for m, i in intervals.items() if m in scores},
    )


def _select_scores(means: dict[str, Any]) -> dict[str, float]:
    return {
        metric: _read_score(metric, means[metric])
        for metric in SCORES
        if means.get(metric) is not None
    }


def _read_score(metric: str, value: str | float) -> float:
    """Refuses the NaN that JSON and CSV may hold and the page may not."""
    score = float(value)
    if not math.isfinite(score):
        raise ValueError(f"{metric} is {score}")
    return score


def _select_intervals(ends: dict[str, Any]) -> dict[str, tuple[float, float]]:
    found = {m: ends[m] for m in SCORES if ends.get(m)}
    return {
        metric: (_read_score(metric, low), _read_score(metric, high))
        for metric, (low, high) in found.items()
    }


def _describe_test_data(files: int, noisy_pesq: float | None) -> str:
    if is_literature_data(files, noisy_pesq):
        return TEST_SET
    if noisy_pesq is None:
        return f"{files} files, input not scored"
    return f"{files} files, noisy PESQ-wb {noisy_pesq:.2f}"


def _compute_intervals(report: MetricReport) -> dict[str, tuple[float, float]]:
    ends = compute_statistics(report)["ci95"]
    return {metric: tuple(ci) for metric, ci in ends.items() if ci}


def _read_rows(path: Path) -> list[dict[str, str]]:
    # Exported models have results without it, and so without intervals.
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _read_training_scores(
    path: Path, metrics: Iterable[str]
) -> dict[str, MetricReport]:
    reports = {k: MetricReport(tuple(metrics)) for k in ("noisy", "enhanced")}
    try:
        for row in _read_rows(path):
            for key, report in reports.items():
                report.scores[row["id"]] = {
                    metric: _read_score(metric, row[f"{key}_{metric}"])
                    for metric in report.metrics
                    if row[f"{key}_{metric}"]
                }
    except (KeyError, ValueError) as error:
        raise _explain_damage(path, error) from error
    return reports


def _read_system_scores(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    systems: dict[str, dict[str, dict[str, float]]] = {}
    try:
        for row in _read_rows(path):
            systems.setdefault(row["system"], {})[row["file"]] = {
                metric: _read_score(metric, row[metric])
                for metric in SCORES
                if row.get(metric)
            }
    except (KeyError, ValueError) as error:
        raise _explain_damage(path, error) from error
    return systems
