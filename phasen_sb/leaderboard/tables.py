"""The leaderboard as CSV and as Markdown."""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict

from phasen_sb.leaderboard.entries import KINDS, SCORES, Entry
from phasen_sb.metrics.formatting import format_interval
from phasen_sb.metrics.registry import METRICS
from phasen_sb.utils.tables import format_markdown_table

INTRODUCTION = """\
# VoiceBank-DEMAND leaderboard

Means over the test set's 824 files at 16 kHz; published figures are as printed
in their sources. Rank rows within a section, not across sections: training on a
metric raises that metric more than what listeners hear. CSIG, CBAK and COVL
contain PESQ, which explains 59, 69 and 91 % of their variance, so they are no
evidence beside it; nor need they be of one family of programs. Brackets hold
95 % bootstrap intervals of the mean.
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

    The columns are ``kind``, those of ``published.csv``, ``test_data``, and
    ``pesq_wb_low``, ``pesq_wb_high`` and so on.
    """
    rows = []
    for entry in entries:
        row = {"kind": entry.kind} | asdict(entry)
        del row["scores"], row["intervals"], row["printed"]
        exact = entry.scores | entry.printed
        row |= {metric: exact.get(metric) for metric in SCORES}
        for metric in SCORES:
            low, high = entry.intervals.get(metric, (None, None))
            row |= {f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_markdown(entries: Iterable[Entry]) -> str:
    """Writes a Markdown table for each kind of result, ranked by PESQ."""
    entries = list(entries)
    parts = [INTRODUCTION]
    for kind in KINDS:
        chosen = rank_entries(e for e in entries if e.kind == kind)
        if chosen:
            parts.append(f"## {kind}\n\n{_table(chosen)}\n")
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
        notes = filter(None, [entry.note, entry.measured])
        rows.append(
            [f"{entry.system}{detail}"]
            + [_format_score(entry, metric) for metric in SCORES]
            + [format_size(entry.parameters_M)]
            + [format_size(entry.macs_G_per_s)]
            + [entry.causal, "; ".join([*remarks, *notes])]
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
