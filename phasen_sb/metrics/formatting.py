"""Scores as text, with the digits that are usual for each measure."""

from collections.abc import Sequence

from phasen_sb.metrics.registry import METRICS


def format_score(
    metric: str, value: float | None, sign: str = "", missing: str = "-"
) -> str:
    """Writes a score; the sign ``"+"`` shows that of positive ones, too.

    Example
    -------
    >>> format_score("stoi", 0.9), format_score("pesq_wb", 0.25, "+")
    ('0.900', '+0.25')
    """
    if value is None:
        return missing
    return f"{value:{sign}.{METRICS[metric].digits}f}"


def format_interval(
    metric: str,
    value: float | None,
    interval: Sequence[float] | None,
    sign: str = "",
) -> str:
    """Writes a score and, if it is known, its confidence interval.

    Example
    -------
    >>> format_interval("pesq_wb", 2.5, [2.4, 2.6])
    '2.50 [2.40, 2.60]'
    """
    text = format_score(metric, value, sign)
    if interval is None:
        return text
    low, high = (format_score(metric, end, sign) for end in interval)
    return f"{text} [{low}, {high}]"
