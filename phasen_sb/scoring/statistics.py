"""Means with confidence intervals, and paired comparisons of systems."""

from typing import Any

import numpy as np

from phasen_sb.metrics.metric_report import MetricReport
from phasen_sb.metrics.registry import METRICS

RESAMPLES = 9999
SEED = 0


def bootstrap_interval(values) -> list[float] | None:
    """Computes the 95 % percentile bootstrap interval of the mean over files.

    The random generator always starts from the same seed, so that equal scores
    give equal intervals. Returns the lower and the upper end; None for fewer
    than two values.
    """
    from scipy.stats import bootstrap  # slow to import

    values = np.asarray(values, dtype=np.float64)
    if values.size < 2:
        return None
    interval = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=1000,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return [float(interval.low), float(interval.high)]


def compute_statistics(report: MetricReport) -> dict[str, Any]:
    """Computes the statistics of one system, as ``scores.json`` keeps them.

    "mean", "median", "ci95" and "n" (how many files were averaged), each by
    metric, with None where no file has a score, and "failures".
    """
    values = {metric: report.values(metric) for metric in report.metrics}
    return {
        "mean": report.mean(),
        "median": {
            m: float(np.median(v)) if v else None for m, v in values.items()
        },
        "ci95": {m: bootstrap_interval(v) for m, v in values.items()},
        "n": {m: len(v) for m, v in values.items()},
        "failures": report.failures,
    }


def compare(first: MetricReport, second: MetricReport) -> dict[str, Any]:
    """Compares two systems, a baseline first, over the files scored in both.

    Returns for each metric the "mean_difference" (second minus first), its
    "ci95", the number of files "n", and how many of them the second system
    "wins", "ties" and "losses"; a lower value wins where lower is better.
    """
    comparison = {}
    for metric in first.metrics:
        differences = np.array(
            [
                second.scores[key][metric] - scores[metric]
                for key, scores in first.scores.items()
                if metric in scores and metric in second.scores.get(key, {})
            ]
        )
        gains = (
            differences if METRICS[metric].higher_is_better else -differences
        )
        comparison[metric] = {
            "mean_difference": float(differences.mean())
            if gains.size
            else None,
            "ci95": bootstrap_interval(differences),
            "n": gains.size,
            "wins": int(np.sum(gains > 0)),
            "ties": int(np.sum(gains == 0)),
            "losses": int(np.sum(gains < 0)),
        }
    return comparison


def find_worst_files(
    report: MetricReport, metric: str, count: int = 10
) -> list[tuple[str, float]]:
    """Finds the files that a system scores worst on, the worst first.

    Example
    -------
    >>> scores = {"a": {"stoi": 0.9}, "b": {"stoi": 0.6}, "c": {"stoi": 0.8}}
    >>> find_worst_files(MetricReport(("stoi",), scores), "stoi", count=2)
    [('b', 0.6), ('c', 0.8)]
    """
    scored = [
        (key, scores[metric])
        for key, scores in report.scores.items()
        if metric in scores
    ]
    worst_is_high = not METRICS[metric].higher_is_better
    return sorted(scored, key=lambda s: s[1], reverse=worst_is_high)[:count]
