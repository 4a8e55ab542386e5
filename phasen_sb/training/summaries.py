"""Means of a report, ready for a log or for JSON."""

import math

from phasen_sb.metrics.metric_report import MetricReport


def summarise(report: MetricReport) -> dict:
    """Computes means and counts utterances and failures, ready for JSON.

    Example
    -------
    >>> summarise(MetricReport(("stoi",), {"a": {"stoi": 0.9}}))
    {'stoi': 0.9, 'utterances': 1, 'failures': {}}
    """
    return report.mean() | {
        "utterances": len(report.scores),
        "failures": report.failure_counts(),
    }


def join_means(
    report: MetricReport, noisy: MetricReport | None
) -> dict[str, float]:
    """Lists mean scores, each followed by that of the noisy input.

    Example
    -------
    >>> ours = MetricReport(("stoi",), {"a": {"stoi": 0.9}})
    >>> join_means(ours, MetricReport(("stoi",), {"a": {"stoi": 0.8}}))
    {'stoi': 0.9, 'noisy_stoi': 0.8}
    """
    before = {} if noisy is None else noisy.mean()
    stats = {}
    for name, value in report.mean().items():
        stats[name] = math.nan if value is None else value
        if before.get(name) is not None:
            stats[f"noisy_{name}"] = before[name]
    return stats
