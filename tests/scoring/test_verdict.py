"""One sentence on what a comparison shows."""

import numpy as np

from phasen_sb.metrics import MetricReport
from phasen_sb.scoring.statistics import compare
from phasen_sb.scoring.verdict import describe_comparison

METRICS = ("stoi", "llr", "si_sdr", "csig")


def report(shifts: dict[str, float], files: int = 50) -> MetricReport:
    draw = np.random.default_rng(0)
    scores = {
        str(key): {m: draw.normal() + shifts.get(m, 0) for m in METRICS}
        for key in range(files)
    }
    return MetricReport(METRICS, scores)


def describe(second: MetricReport, words=None) -> str:
    metrics = compare(report({}), second)
    comparison = {"from": "a", "to": "b", "metrics": metrics}
    return describe_comparison(comparison, list(METRICS), words)


def test_each_measure_is_better_worse_or_neither():
    draw = np.random.default_rng(1)
    second = report({"stoi": 0.1, "llr": 0.1, "csig": 0.1})
    for scores in second.scores.values():
        scores["si_sdr"] += draw.normal()
    assert describe(second) == (
        "Verdict: b against a is better in STOI; worse in LLR; not "
        "significantly different in SI-SDR (paired 95 % intervals, 50 files)."
    )


def test_fewer_word_errors_are_better():
    words = {"difference": -0.1, "ci95": [-0.2, -0.05], "files": 50}
    assert "better in STOI, SI-SDR and word error rate;" in describe(
        report({"stoi": 1, "si_sdr": 1, "llr": 1}), words
    )
    words["ci95"] = [-0.2, 0.05]
    assert "not significantly different in word error rate" in describe(
        report({"stoi": 1, "si_sdr": 1, "llr": 1}), words
    )


def test_nothing_to_compare():
    for second in (MetricReport(METRICS), report({"stoi": 1}, files=1)):
        assert describe(second) == (
            "Verdict: b and a have scores of fewer than two files in common: "
            "nothing can be said."
        )


def test_few_files_are_called_few():
    assert describe(report({"stoi": 1}, files=19)).endswith(
        ", 19 files: too few to be sure)."
    )
    assert describe(report({"stoi": 1}, files=20)).endswith(", 20 files).")
