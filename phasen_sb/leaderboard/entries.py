"""The rows of the leaderboard: one for each system and protocol."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files

from phasen_sb.metrics.formatting import format_score

#: The measures of the leaderboard, in the order of its columns.
SCORES = ("pesq_wb", "csig", "cbak", "covl", "ssnr", "stoi", "si_sdr")

TEST_SET = "VoiceBank-DEMAND"
SELF_MEASURED = "self-measured"
BY_AUTHORS = "as its authors report"
YES, NO, UNKNOWN = "yes", "no", "unknown"


@dataclass(frozen=True)
class Entry:
    """What one system scored under one protocol.

    Arguments
    ---------
    system : str
        Its name.
    protocol : str
        Which of several results of that system it is: whose training,
        weights, tools or table.
    year : str
        Year of the source, "" if it does not matter.
    domain : str
        What the network maps: "time", "magnitude", "complex" and others.
    causal : str
        "yes", "no" or "unknown".
    latency_ms : float or None
        Algorithmic latency of a causal system, where it is known.
    parameters_M : float or None
        Millions of parameters.
    macs_G_per_s : float or None
        Billions of multiply-accumulate operations per second of audio.
    scores : dict
        Those of :data:`SCORES` that are known.
    extra_data : str
        "no", or what else than VoiceBank-DEMAND it was trained on.
    evidence : str
        "as published", "reproduced by others" or "self-measured".
    selected_on_test : str
        Whether the test set chose the checkpoint: "yes", "no", "unknown".
    metric_optimised : str
        "no", "unknown", or how a metric entered the training ("PESQ loss",
        "metric discriminator", "PCS").
    retracted : str
        "yes" or "no".
    source : str
        Citation or repository.
    checked : str
        "source read", "second hand" (through another's table), or "here".
    note : str
        What else a reader should know.
    intervals : dict
        95 % confidence intervals of scores, (low, high).
    test_data : str
        :data:`TEST_SET`, or which other files the scores are means over.
    printed : dict
        Scores with as many digits as their source gives.
    """

    system: str
    protocol: str
    year: str
    domain: str
    causal: str
    latency_ms: float | None
    parameters_M: float | None
    macs_G_per_s: float | None
    scores: Mapping[str, float]
    extra_data: str
    evidence: str
    selected_on_test: str
    metric_optimised: str
    retracted: str
    source: str
    checked: str
    note: str = ""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    test_data: str = TEST_SET
    printed: Mapping[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether it was measured by this package."""
        return self.evidence == SELF_MEASURED

    @property
    def comparable(self) -> bool:
        """Whether it was measured on the data of the literature."""
        return self.test_data == TEST_SET

    @property
    def detail(self) -> str:
        """The protocol, where it is not the authors' own."""
        return "" if self.protocol == BY_AUTHORS else self.protocol

    @property
    def optimises_metric(self) -> bool:
        """Whether its training is known to have optimised a metric."""
        return self.metric_optimised not in (NO, UNKNOWN)

    def format_score(self, metric: str) -> str:
        """A score as tables show it, "" if it is not known."""
        if metric in self.printed:
            return self.printed[metric]
        return format_score(metric, self.scores.get(metric), missing="")

    @property
    def flags(self) -> list[str]:
        """What sets its numbers apart from plain ones, a few words each."""
        flags = []
        if self.ours:
            flags.append("measured here")
        if not self.comparable:
            flags.append("other test data")
        if self.retracted == YES:
            flags.append("retracted")
        if self.optimises_metric:
            how = self.metric_optimised.removeprefix("yes, ")
            flags.append(f"metric-optimised: {how}")
        if self.selected_on_test == YES:
            flags.append("selected on the test set")
        if self.evidence == "reproduced by others":
            flags.append("reproduced by others")
        if self.extra_data != NO:
            more = "" if self.extra_data == YES else f": {self.extra_data}"
            flags.append(f"extra data{more}")
        if self.checked == "second hand":
            flags.append("second hand")
        return flags


def read_published() -> list[Entry]:
    """Reads the published results that come with the package.

    Returns
    -------
    list of Entry
        In the order of the file, by name.

    Example
    -------
    >>> [phasen] = [
    ...     entry
    ...     for entry in read_published()
    ...     if entry.system == "PHASEN" and entry.evidence == "as published"
    ... ]
    >>> phasen.scores["pesq_wb"], phasen.causal, phasen.optimises_metric
    (2.99, 'no', False)
    """
    text = files("phasen_sb.leaderboard").joinpath("published.csv")
    lines = text.read_text(encoding="utf-8").splitlines()
    return [_read_entry(row) for row in csv.DictReader(lines)]


def _read_entry(row: dict[str, str]) -> Entry:
    for key in ("latency_ms", "parameters_M", "macs_G_per_s"):
        row[key] = float(row[key]) if row[key] else None
    scores = {name: row.pop(name) for name in SCORES}
    printed = {name: text for name, text in scores.items() if text}
    known = {name: float(text) for name, text in printed.items()}
    return Entry(scores=known, printed=printed, **row)
