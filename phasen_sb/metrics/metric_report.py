"""The scores of many pairs of signals, and what could not be scored."""

import math
from dataclasses import dataclass, field


@dataclass
class MetricReport:
    """Scores by utterance; failures are listed and never averaged in.

    Arguments
    ---------
    metrics : tuple of str
        The names of all requested measures.
    scores : dict
        For each key the measures that have a value, {key: {metric: float}}.
    failures : list of dict
        The others, each with "key", "metric", "reason" and "detail".

    Example
    -------
    >>> report = MetricReport(
    ...     ("stoi",),
    ...     {"a": {"stoi": 0.8}, "b": {"stoi": 0.9}, "c": {}},
    ...     [{"key": "c", "metric": "stoi", "reason": "silent", "detail": ""}],
    ... )
    >>> round(report.mean()["stoi"], 6)
    0.85
    >>> report.failure_counts()
    {'stoi': {'silent': 1}}
    >>> report.failures_by_key()
    {'c': 'stoi: silent'}
    """

    metrics: tuple[str, ...]
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)

    def values(self, metric: str) -> list[float]:
        """The scores of one measure, without the failures."""
        return [s[metric] for s in self.scores.values() if metric in s]

    def mean(self) -> dict[str, float | None]:
        """The mean of each measure, None if it has no score at all."""
        means: dict[str, float | None] = {}
        for metric in self.metrics:
            values = self.values(metric)
            means[metric] = math.fsum(values) / len(values) if values else None
        return means

    def failure_counts(self) -> dict[str, dict[str, int]]:
        """How often each measure failed for each reason."""
        counts: dict[str, dict[str, int]] = {}
        for failure in self.failures:
            reasons = counts.setdefault(failure["metric"], {})
            reason = failure["reason"]
            reasons[reason] = reasons.get(reason, 0) + 1
        return counts

    def failures_by_key(self) -> dict[str, str]:
        """What failed for each key that has failures, as text."""
        found: dict[str, list[str]] = {}
        for failure in self.failures:
            reason = f"{failure['metric']}: {failure['reason']}"
            found.setdefault(failure["key"], []).append(reason)
        return {key: "; ".join(reasons) for key, reasons in found.items()}
