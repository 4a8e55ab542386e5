"""The leaderboard as CSV and as Markdown."""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import asdict

from phasen_sb.leaderboard.entries import SCORES, YES, Entry
from phasen_sb.metrics.formatting import format_interval
from phasen_sb.metrics.registry import METRICS
from phasen_sb.utils.tables import format_markdown_table

INTRODUCTION = """\
# VoiceBank-DEMAND leaderboard

Means over the test set's 824 files at 16 kHz. CSIG, CBAK and COVL need not be
of one family of programs; published figures are as printed in their sources.
Brackets hold 95 % bootstrap intervals of the mean.
"""


def format_size(value: float | None) -> str:
    """Writes millions of parameters or billions of operations, "" for None.

    >>> [format_size(value) for value in (8.774935, 0.0482, 255.1, None)]
    ['8.77', '0.0482', '255', '']
    """
    return "" if value is None else f"{value:.3g}"


def rank_entries(entries: Iterable[Entry]) -> list[Entry]:
    """Sorts by wide-band PESQ, the best first, those without it last."""
    return sorted(
        entries,
        key=lambda e: (-e.scores.get("pesq_wb", -1), e.system, e.protocol),
    )


def to_csv(entries: Iterable[Entry]) -> str:
    """Writes all rows, with intervals, as CSV.

    The columns are those of ``published.csv``, ``test_data``, and
    ``pesq_wb_low``, ``pesq_wb_high`` and so on.
    """
    text = io.StringIO()
    writer = None
    for entry in entries:
        row = asdict(entry)
        del row["scores"], row["intervals"], row["printed"]
        exact = entry.scores | entry.printed
        row |= {metric: exact.get(metric) for metric in SCORES}
        for metric in SCORES:
            low, high = entry.intervals.get(metric, (None, None))
            row |= {f"{metric}_low": low, f"{metric}_high": high}
        if writer is None:
            writer = csv.DictWriter(text, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
    return text.getvalue()


# One rank for all would let training on the metric win.
_SECTIONS: dict[str, Callable[[Entry], bool]] = {
    "Measured here": lambda e: e.ours,
    "Published, not known to be optimised for a metric": lambda e: (
        not e.ours and e.retracted != YES and not e.optimises_metric
    ),
    "Published, optimised for a metric": lambda e: (
        not e.ours and e.retracted != YES and e.optimises_metric
    ),
    "Retracted": lambda e: not e.ours and e.retracted == YES,
}


def to_markdown(entries: Iterable[Entry]) -> str:
    """Writes a Markdown table for each kind of result, ranked by PESQ."""
    entries = list(entries)
    parts = [INTRODUCTION]
    for title, belongs in _SECTIONS.items():
        chosen = rank_entries(filter(belongs, entries))
        if chosen:
            parts.append(f"## {title}\n\n{_table(chosen)}\n")
    return "\n".join(parts)


def _table(entries: list[Entry]) -> str:
    header = ["System", *(METRICS[metric].label for metric in SCORES)]
    header += ["Parameters (M)", "GMAC/s", "Causal", "Remarks", "Source"]
    rows = []
    for entry in entries:
        detail = f" ({entry.detail})" if entry.detail else ""
        remarks = [f for f in entry.flags if f != "measured here"]
        if not entry.comparable:
            remarks[0] += f" ({entry.test_data})"
        rows.append(
            [f"{entry.system}{detail}"]
            + [_format_score(entry, metric) for metric in SCORES]
            + [format_size(entry.parameters_M)]
            + [format_size(entry.macs_G_per_s)]
            + [entry.causal, "; ".join([*remarks, *filter(None, [entry.note])])]
            + [entry.source]
        )
    align = ["left", *["right"] * 9, "left", "left", "left"]
    return format_markdown_table(header, rows, align)


def _format_score(entry: Entry, metric: str) -> str:
    if metric not in entry.intervals:
        return entry.format_score(metric)
    return format_interval(
        metric, entry.scores[metric], entry.intervals[metric]
    )
