"""The rows of the leaderboard: one for each system and protocol."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files

from phasen_sb.metrics.formatting import format_score

#: The measures of the leaderboard, in the order of its columns.
SCORES = ("pesq_wb", "csig", "cbak", "covl", "ssnr", "stoi", "si_sdr")

ZERO_SHOT = "Our model, zero-shot"
MEASURED = "Measured here"
PLAIN = "Published, not known to be optimised for a metric"
OPTIMISED = "Published, optimised for a metric"
RETRACTED = "Retracted"
#: The kinds of rows, which have sections of their own: one rank for all would
#: let training on the metric win.
KINDS = (ZERO_SHOT, MEASURED, PLAIN, OPTIMISED, RETRACTED)

TEST_SET = "VoiceBank-DEMAND"
SELF_MEASURED = "self-measured"
REPRODUCED = "reproduced by others"
SECOND_HAND = "second hand"
BY_AUTHORS = "as its authors report"
YES, NO, UNKNOWN = "yes", "no", "unknown"


@dataclass(frozen=True)
class Entry:
    """What one system scored under one protocol."""

    system: str
    #: Which of several results of that system it is: whose training, weights,
    #: tools or table.
    protocol: str
    year: str  # of the source; "" if it does not matter
    domain: str  # what the network maps: "time", "magnitude", "complex", ...
    causal: str  # "yes", "no" or "unknown"
    latency_ms: float | None  # algorithmic, of a causal system, where known
    parameters_M: float | None  # millions
    #: Billions of multiply-accumulate operations per second of audio.
    macs_G_per_s: float | None
    scores: Mapping[str, float]  # those of SCORES that are known
    #: "no", or what else than VoiceBank-DEMAND it was trained on.
    extra_data: str
    evidence: str  # "as published", "reproduced by others" or "self-measured"
    #: Whether the test set chose the checkpoint: "yes", "no" or "unknown".
    selected_on_test: str
    #: "no", "unknown", or how a metric entered the training ("PESQ loss",
    #: "metric discriminator", "PCS").
    metric_optimised: str
    retracted: str  # "yes" or "no"
    source: str  # citation or repository
    #: "source read", "second hand" (through another's table), or "here".
    checked: str
    note: str = ""  # what else a reader should know
    #: Of how many trainings with different seeds the scores are means: a
    #: number, "several", or "" if the source says nothing.
    trainings: str = ""
    #: What it was trained on instead of VoiceBank-DEMAND's training set, which
    #: makes its scores zero-shot ones; "" if it was trained on that.
    training_data: str = ""
    measured: str = ""  # date and commit of what was measured here
    #: 95 % confidence intervals of scores, (low, high).
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    test_data: str = TEST_SET  # or which other files the scores are means over
    #: Scores with as many digits as their source gives.
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
    def zero_shot(self) -> bool:
        """Whether it was never trained on the corpus that it is tested on."""
        return bool(self.training_data)

    @property
    def kind(self) -> str:
        """The group that it is compared within, see :data:`KINDS`."""
        if self.ours:
            return ZERO_SHOT if self.zero_shot else MEASURED
        if self.retracted == YES:
            return RETRACTED
        return OPTIMISED if self.optimises_metric else PLAIN

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
        if self.zero_shot:
            flags.append(f"zero-shot, training data: {self.training_data}")
        if not self.comparable:
            flags.append("other test data")
        if self.retracted == YES:
            flags.append("retracted")
        if self.optimises_metric:
            how = self.metric_optimised.removeprefix("yes, ")
            flags.append(f"metric-optimised: {how}")
        if self.selected_on_test == YES:
            flags.append("selected on the test set")
        if self.evidence == REPRODUCED:
            flags.append(REPRODUCED)
        if self.extra_data != NO:
            more = "" if self.extra_data == YES else f": {self.extra_data}"
            flags.append(f"extra data{more}")
        if self.trainings not in ("", "1"):
            flags.append(f"mean of {self.trainings} trainings")
        if self.checked == SECOND_HAND:
            flags.append(SECOND_HAND)
        return flags


def read_published() -> list[Entry]:
    """Reads the published results that come with the package, by name."""
    return _read_table("published.csv")


def read_own() -> list[Entry]:
    """Reads what was measured with the models that come with the package.

    See :func:`phasen_sb.leaderboard.own.replace_own` for how it is renewed.
    """
    return _read_table("own.csv")


def _read_table(name: str) -> list[Entry]:
    text = files("phasen_sb.leaderboard").joinpath(name)
    lines = text.read_text(encoding="utf-8").splitlines()
    return [_read_entry(row) for row in csv.DictReader(lines)]


def _read_entry(row: dict[str, str]) -> Entry:
    row.pop("kind", None)  # follows from the rest
    for key in ("latency_ms", "parameters_M", "macs_G_per_s"):
        row[key] = float(row[key]) if row[key] else None
    scores = {name: row.pop(name) for name in SCORES}
    printed = {name: text for name, text in scores.items() if text}
    known = {name: float(text) for name, text in printed.items()}
    ends = {
        name: tuple(row.pop(f"{name}_{end}", "") for end in ("low", "high"))
        for name in SCORES
    }
    return Entry(
        scores=known,
        printed=printed,
        intervals={
            name: (float(low), float(high))
            for name, (low, high) in ends.items()
            if low
        },
        **row,
    )
