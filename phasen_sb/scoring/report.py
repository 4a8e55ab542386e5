"""Scores as a JSON record, as a CSV table and as a Markdown report."""

import csv
import io
import json
from collections.abc import Iterable
from itertools import combinations
from typing import Any

from phasen_sb.audio.resampling import RESAMPLER
from phasen_sb.metrics.formatting import format_interval, format_score
from phasen_sb.metrics.metric_report import MetricReport
from phasen_sb.metrics.registry import METRICS, order_for_tables
from phasen_sb.scoring.audio import SAMPLE_RATE
from phasen_sb.scoring.conditions import split_by_condition
from phasen_sb.scoring.plots import choose_metrics
from phasen_sb.scoring.sanity import check_voicebank
from phasen_sb.scoring.statistics import (
    compare,
    compute_statistics,
    find_worst_files,
)
from phasen_sb.scoring.systems import NOISY, FolderScores, System
from phasen_sb.scoring.verdict import describe_comparison
from phasen_sb.scoring.word_errors import OPERATIONS
from phasen_sb.utils.provenance import find_versions
from phasen_sb.utils.tables import format_markdown_table

_NAMED_FILES = 5


def to_record(
    scores: FolderScores,
    conditions: dict[str, dict[str, str]] | None = None,
    words: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Collects everything about the scores, as ``scores.json`` keeps it.

    The keys are "systems" by name, see
    :func:`phasen_sb.scoring.statistics.compute_statistics`, "comparisons" of
    each two of them with a "verdict", "conditions" (the same as "systems" for
    each noise and SNR of
    :func:`phasen_sb.scoring.conditions.read_conditions`), "word_errors" (what
    :func:`phasen_sb.scoring.word_errors.score_words` returned, or None),
    "sanity", "clean_folder" (None without references), "notes", "sample_rate",
    "resampler" and "versions".
    """
    groups = {}
    if conditions is not None:
        groups = split_by_condition(scores, conditions)
    systems = {
        system.name: {"folder": str(system.folder)}
        | compute_statistics(system.report)
        | {"missing": system.missing, "without_clean": system.extra}
        for system in scores.systems
    }
    return {
        "sanity": _check_data(scores),
        "systems": systems,
        "comparisons": [
            _compare(a, b, words) for a, b in combinations(scores.systems, 2)
        ],
        "conditions": {
            column: {
                value: {
                    name: compute_statistics(r) for name, r in reports.items()
                }
                for value, reports in by_value.items()
            }
            for column, by_value in groups.items()
        },
        "word_errors": words,
        "clean_folder": scores.clean_folder and str(scores.clean_folder),
        "notes": scores.notes,
        "sample_rate": SAMPLE_RATE,
        "resampler": RESAMPLER,
        "versions": _find_versions(scores.systems[0].report.metrics),
    }


def _compare(a: System, b: System, words) -> dict[str, Any]:
    comparison = {
        "from": a.name,
        "to": b.name,
        "metrics": compare(a.report, b.report),
    }
    pair = (a.name, b.name)
    of_words = next(
        (c for c in (words or {}).get("comparisons", []) if _names(c) == pair),
        None,
    )
    metrics = order_for_tables(a.report.metrics)
    verdict = describe_comparison(comparison, metrics, of_words)
    return {**comparison, "verdict": verdict}


def _names(comparison: dict[str, Any]) -> tuple[str, str]:
    return comparison["from"], comparison["to"]


def _find_versions(metrics: Iterable[str]) -> dict[str, str | None]:
    packages = dict.fromkeys(METRICS[metric].package for metric in metrics)
    names = filter(None, packages)
    return find_versions(["numpy", "torchaudio", "soundfile", *names])


def _check_data(scores: FolderScores) -> str | None:
    if scores.clean_folder is None:
        return None
    reports = {system.name: system.report for system in scores.systems}
    names = next(iter(reports.values())).scores
    noisy = reports[NOISY].mean().get("pesq_wb") if NOISY in reports else None
    return check_voicebank(names, noisy)


def to_json(record: dict[str, Any]) -> str:
    """Writes the record as strict JSON, which has no NaN."""
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def to_csv(scores: FolderScores) -> str:
    """Writes a row for each system and file; a failed score stays empty."""
    metrics = list(scores.systems[0].report.metrics)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["system", "file", "input_snr", *metrics, "failures"])
    for system in scores.systems:
        failures = system.report.failures_by_key()
        for key, values in system.report.scores.items():
            writer.writerow(
                [system.name, key, scores.input_snr.get(key, "")]
                + [values.get(metric, "") for metric in metrics]
                + [failures.get(key, "")]
            )
    return text.getvalue()


def to_text(scores: FolderScores, record: dict[str, Any]) -> str:
    """Writes the report as Markdown, the result of the sanity check first."""
    metrics = order_for_tables(scores.systems[0].report.metrics)
    enhanced = [system for system in scores.systems if system.name != NOISY]
    comparisons = [
        comparison
        for comparison in record["comparisons"]
        if len(enhanced) == 1 or comparison["from"] != NOISY
    ]
    parts = [record["sanity"]] if record["sanity"] else []
    parts += [comparison["verdict"] for comparison in comparisons]
    parts += [
        "Mean [95 % bootstrap interval of the mean]",
        _format_means(record, metrics),
    ]
    if record["word_errors"]:
        parts.append(_format_words(record["word_errors"]))
    parts += [
        _format_condition(column, record, metrics)
        for column in record["conditions"]
    ]
    if record["notes"]:
        parts.append("\n".join(f"* {note}" for note in record["notes"]))
    for system in scores.systems:
        if system.report.failures:
            parts.append(_format_failures(system.name, system.report))
    parts += [_format_comparison(c, metrics) for c in comparisons]
    parts += [_format_worst(s.name, s.report, metrics[0]) for s in enhanced]
    if any(METRICS[metric].contains_pesq for metric in metrics):
        parts.append(
            "Measures that contain PESQ are no evidence beside it, and none at "
            "all of a model that was trained on it."
        )
    if any(metric.endswith("_rescaled") for metric in metrics):
        parts.append(
            'Measures called "rescaled" are those of the other family of '
            "programs in use; most published tables have the ones without."
        )
    parts.append(
        "Computed at 16 kHz with "
        + ", ".join(f"{k} {v}" for k, v in record["versions"].items())
        + "."
    )
    return "\n\n".join(parts) + "\n"


def _format_means(record: dict[str, Any], metrics: list[str]) -> str:
    systems = record["systems"]
    rows = [
        [_label(m), *(_format_mean(s, m) for s in systems.values())]
        for m in metrics
    ]
    counts = (list(s["n"].values()) for s in systems.values())
    ranges = ((min(count), max(count)) for count in counts)
    rows.append(
        ["files"] + [f"{a}" if a == b else f"{a} to {b}" for a, b in ranges]
    )
    return format_markdown_table(["", *systems], rows)


def _label(metric: str) -> str:
    mark = " (contains PESQ)" if METRICS[metric].contains_pesq else ""
    return METRICS[metric].label + mark


def _format_words(words: dict[str, Any]) -> str:
    rows = []
    for name, found in words["systems"].items():
        rate = "-" if found["wer"] is None else f"{100 * found['wer']:.1f} %"
        if found["ci95"]:
            low, high = (100 * end for end in found["ci95"])
            rate += f" [{low:.1f}, {high:.1f}]"
        counts = [str(found[k]) for k in (*OPERATIONS, "words", "files")]
        rows.append([name, rate, *counts])
    header = ["", "word error rate", *OPERATIONS, "words", "files"]
    return f"{words['source']}\n\n{format_markdown_table(header, rows)}"


def _format_mean(statistics: dict[str, Any] | None, metric: str) -> str:
    if statistics is None:
        return "-"
    mean, interval = (statistics[k][metric] for k in ("mean", "ci95"))
    return format_interval(metric, mean, interval)


def _format_condition(
    column: str, record: dict[str, Any], metrics: list[str]
) -> str:
    chosen = choose_metrics(metrics)
    systems = list(record["systems"])
    head = [f"{METRICS[m].label}, {name}" for m in chosen for name in systems]
    rows = []
    for value, found in record["conditions"][column].items():
        files = max(max(s["n"].values()) for s in found.values())
        means = [_format_mean(found.get(n), m) for m in chosen for n in systems]
        rows.append([value, str(files), *means])
    return format_markdown_table([column, "files", *head], rows)


def _format_failures(name: str, report: MetricReport) -> str:
    lines = [
        f"Failures of {name}, left out of its means (different systems may "
        "thus be averaged over different files):"
    ]
    for metric, reasons in report.failure_counts().items():
        for reason, count in reasons.items():
            keys = [
                f["key"]
                for f in report.failures
                if (f["metric"], f["reason"]) == (metric, reason)
            ]
            named = ", ".join(keys[:_NAMED_FILES])
            more = ", ..." if count > _NAMED_FILES else ""
            lines.append(
                f"* {METRICS[metric].label}: {count} x {reason} ({named}{more})"
            )
    return "\n".join(lines)


def _format_comparison(comparison: dict[str, Any], metrics: list[str]) -> str:
    title = (
        f"{comparison['to']} against {comparison['from']}, over the files "
        "that both have:"
    )
    rows = []
    for metric in metrics:
        c = comparison["metrics"][metric]
        difference = format_interval(
            metric, c["mean_difference"], c["ci95"], sign="+"
        )
        counts = [str(c[k]) for k in ("wins", "ties", "losses")]
        rows.append([_label(metric), difference, *counts])
    header = ["", "mean difference", "wins", "ties", "losses"]
    return f"{title}\n\n{format_markdown_table(header, rows)}"


def _format_worst(name: str, report: MetricReport, metric: str) -> str:
    files = ", ".join(
        f"{key} {format_score(metric, score)}"
        for key, score in find_worst_files(report, metric)
    )
    return f"Worst files of {name} by {METRICS[metric].label}: {files}"
