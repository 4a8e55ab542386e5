"""Intervals and paired comparisons."""

import numpy as np
import pytest

from phasen_sb.metrics import MetricReport
from phasen_sb.scoring.statistics import bootstrap_interval, compare


def test_bootstrap_interval_covers_as_normal_theory_says():
    values = np.random.default_rng(1).normal(3, 1, size=400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.02)
    assert bootstrap_interval([1.0]) is None
    assert bootstrap_interval([2.0, 2.0]) == [2.0, 2.0]


def test_lower_wins_where_lower_is_better():
    def report(value: float) -> MetricReport:
        scores = {"a": {"llr": value, "stoi": value}, "b": {"stoi": 0.5}}
        return MetricReport(("llr", "stoi"), scores)

    difference = compare(report(0.5), report(0.25))
    assert difference["llr"]["wins"] == 1 and difference["llr"]["n"] == 1
    assert difference["stoi"]["losses"] == 1 and difference["stoi"]["ties"] == 1
    assert difference["stoi"]["mean_difference"] == -0.125
