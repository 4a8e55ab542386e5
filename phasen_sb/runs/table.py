"""The table of runs, as Markdown and for the page."""

from collections.abc import Mapping, Sequence

from phasen_sb.metrics.checkpoint_selection import SELECTION_METRIC
from phasen_sb.metrics.formatting import format_score
from phasen_sb.metrics.registry import METRICS
from phasen_sb.runs.record import BROKEN, UNFINISHED, TrainingRun
from phasen_sb.runs.settings import describe_own
from phasen_sb.utils.tables import format_markdown_table


def rank_runs(runs: Sequence[TrainingRun]) -> list[TrainingRun]:
    """Sorts by the test score that selects checkpoints, the best first.

    Runs without it follow, the latest first, and at the end broken ones.
    """

    def place(run):
        score = run.scores.get(SELECTION_METRIC)
        ended = run.ended.timestamp() if run.ended else 0.0
        return run.state == BROKEN, score is None, -(score or 0.0), -ended

    return sorted(runs, key=place)


def list_metrics(runs: Sequence[TrainingRun]) -> list[str]:
    """Names the measures that any run was tested with."""
    return [m for m in METRICS if any(m in run.scores for run in runs)]


def format_hours(hours: float | None) -> str:
    """Writes a duration.

    >>> [format_hours(hours) for hours in (0.05, 1.5, 30.0, None)]
    ['3 min', '1.5 h', '30.0 h', '']
    """
    if hours is None:
        return ""
    return f"{60 * hours:.0f} min" if hours < 1 else f"{hours:.1f} h"


def describe_state(run: TrainingRun) -> str:
    """Says whether a run is finished, and which epoch was chosen of how many.

    >>> describe_state(TrainingRun("a", curves={"train loss": [(3, 0.5)]}))
    'unfinished, after epoch 3'
    """
    if run.state == BROKEN:
        return run.state
    if run.state == UNFINISHED:
        return f"{run.state}, after epoch {run.epochs}"
    chosen = "" if run.chosen_epoch is None else f"epoch {run.chosen_epoch}"
    of = f" of {run.epochs}" if chosen and run.epochs else ""
    return f"{run.state}, {chosen}{of}" if chosen else run.state


def to_markdown(
    runs: Sequence[TrainingRun], differences: Mapping[str, Sequence[str]]
) -> str:
    """Writes the table; each score is followed by its gain over the input.

    ``differences`` are from :func:`phasen_sb.runs.settings.find_differences`.
    """
    metrics = list_metrics(runs)
    header = ["run", "state", *(METRICS[metric].label for metric in metrics)]
    header += ["steps", "time", "hardware", "own settings"]
    rows = []
    for index, run in enumerate(runs):
        rows.append(
            [
                run.name,
                describe_state(run),
                *(_score(run, metric) for metric in metrics),
                "" if run.steps is None else str(run.steps),
                format_hours(run.hours),
                run.hardware,
                ", ".join(describe_own(differences, index)),
            ]
        )
    align = ["left"] * 2 + ["right"] * (len(metrics) + 2) + ["left"] * 2
    return format_markdown_table(header, rows, align) + "\n"


def _score(run, metric):
    if metric not in run.scores:
        return ""
    text = format_score(metric, run.scores[metric])
    if metric not in run.noisy:
        return text
    gain = run.scores[metric] - run.noisy[metric]
    return f"{text} ({format_score(metric, gain, '+')})"
