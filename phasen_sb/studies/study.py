"""Studies: trainings that differ in named settings, and their table."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from phasen_sb.configuration.reading import read_yaml
from phasen_sb.errors import UserError
from phasen_sb.leaderboard.runs import Run, read_runs
from phasen_sb.leaderboard.tables import format_size
from phasen_sb.metrics.formatting import format_interval, format_score
from phasen_sb.metrics.metric_report import MetricReport
from phasen_sb.metrics.registry import METRICS
from phasen_sb.scoring.statistics import compare
from phasen_sb.utils.tables import format_markdown_table

KEYS = {"recipe", "runs", "cumulative"}


@dataclass
class Study:
    """Trainings to compare."""

    name: str  #: of the study's file
    recipe: str  #: the YAML of all trainings
    #: For each training's name what it changes in the recipe. The others are
    #: compared with the first.
    runs: dict[str, dict]


def read_study(path: Path) -> Study:
    """Reads a study's YAML.

    It has ``recipe``, ``runs``, and optionally ``cumulative``: then each run
    also has the settings of those before it. Raises UserError if it has another
    form.
    """
    content = read_yaml(path)
    runs = content.get("runs")
    if not {"recipe", "runs"} <= set(content) <= KEYS:
        raise UserError(
            f"{path} has the keys {', '.join(content)}; a study has 'recipe', "
            "'runs', and perhaps 'cumulative'."
        )
    if (
        not isinstance(runs, Mapping)
        or not runs
        or not all(isinstance(changes, Mapping) for changes in runs.values())
    ):
        raise UserError(
            f"'runs' of {path} must say for each name what it changes, such "
            "as 'no_remix: {remix_probability: 0}'."
        )
    cumulative = content.get("cumulative", False)
    if not isinstance(cumulative, bool):
        raise UserError(
            f"'cumulative' of {path} is {cumulative!r}; it must be True or "
            "False."
        )
    changes: dict = {}
    settled = {}
    for name, change in runs.items():
        if not re.fullmatch(r"[\w.+-]+", str(name)):
            raise UserError(
                f"{path} calls a run {name!r}, which becomes a folder's name; "
                "use only letters, digits, '_', '.', '+' and '-'."
            )
        base = changes if cumulative else {}
        changes = {**base}
        for key, value in change.items():
            if _has_parts(value) and _has_parts(base.get(key)):
                value = {**base[key], **value}
            changes[str(key)] = value
        settled[str(name)] = changes
    return Study(path.stem, str(content["recipe"]), settled)


def _has_parts(value):
    # An object with a tag replaces the one before; it is not parts of it.
    tag = getattr(getattr(value, "tag", None), "value", None)
    return isinstance(value, Mapping) and not tag


def take_parts(study: Study, options: Sequence[str]) -> tuple[Study, list[str]]:
    """Adds parts of objects that the user sets to those of the runs.

    ``options`` are what the user passes to each training. Returns the study
    with the user's parts in each run, and the remaining options. Raises
    UserError if a run sets one of these parts itself, or a value is not valid
    YAML.
    """
    given: dict[str, dict] = {}
    words, rest = list(options), []
    while words:
        word = words.pop(0)
        key, equals, value = word.partition("=")
        key = key.removeprefix("--") if key.startswith("--") else None
        theirs = [run[key] for run in study.runs.values() if key in run]
        if not theirs or not (equals or words):
            rest.append(word)
            continue
        parts = _read(key, value if equals else words[0])
        if not all(map(_has_parts, [parts, *theirs])):
            rest.append(word)
            continue
        if not equals:
            words.pop(0)
        for name, run in study.runs.items():
            for part in parts.keys() & run.get(key, {}).keys():
                raise UserError(
                    f"{part} of --{key} is set by the run {name} of the study; "
                    "leave it out."
                )
        given[key] = {**given.get(key, {}), **parts}
    runs = {
        name: changes
        | {key: {**given[key], **changes.get(key, {})} for key in given}
        for name, changes in study.runs.items()
    }
    return Study(study.name, study.recipe, runs), rest


def _read(key, value):
    try:
        return YAML().load(value)
    except (YAMLError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--{key} {value!r} is not valid YAML ({reason}); write it like "
            f"--{key} '{{part: value}}'."
        ) from error


def check_options(study: Study, options: Sequence[str]) -> None:
    """Refuses options that would fail only after hours of training.

    Raises UserError if a run sets an option itself, or an option moves the
    results.
    """
    given = {
        word.removeprefix("--").partition("=")[0]
        for word in options
        if word.startswith("--")
    }
    for name, changes in study.runs.items():
        for key in given & changes.keys():
            raise UserError(
                f"--{key} is set by the run {name} of the study; leave it out."
            )
    for key in given & {"output_folder", "debug"}:
        raise UserError(
            f"--{key} is not for a study, whose results go to --study_folder; "
            "leave it out."
        )


def command_line(study: Study, name: str, output_folder: Path) -> list[str]:
    """Writes the arguments of ``recipes/train.py`` for one training."""
    words = [study.recipe, "--output_folder", str(output_folder)]
    for key, value in study.runs[name].items():
        words += [f"--{key}", _as_yaml(value)]
    return words


def _as_yaml(value):
    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = True
    yaml.width = 10**6
    yaml.dump({"_": value}, text)
    return text.getvalue().strip().removeprefix("{_: ").removesuffix("}")


def table(study: Study, folders: Mapping[str, Path]) -> str:
    """Tabulates the scores of all trainings, and their gains over the first.

    Takes the output folder of each finished training; returns Markdown.
    Brackets hold 95 % bootstrap intervals; those of gains are of the mean
    difference over the same files.
    """
    found = read_runs(f"{name}={folder}" for name, folder in folders.items())
    runs = dict(zip(folders, found, strict=True))
    reports = {name: _report(run) for name, run in runs.items()}
    first_name, first = next(iter(reports.items()))
    metrics = first.metrics
    labels = [METRICS[metric].label for metric in metrics]
    header = ["", "M parameters", *labels]
    header += [f"gain in {name}" for name in labels]
    rows = []
    noisy = next(iter(runs.values())).noisy
    if noisy is not None:
        cells = [format_score(m, noisy.scores.get(m)) for m in metrics]
        rows.append(["noisy input", "", *cells, *[""] * len(metrics)])
    for name, run in runs.items():
        gains = [""] * len(metrics)
        if name != first_name:
            compared = compare(first, reports[name])
            gains = [_gain(metric, compared[metric]) for metric in metrics]
        rows.append(
            [
                name,
                format_size(run.entry.parameters_M),
                *(format_score(m, run.entry.scores.get(m)) for m in metrics),
                *gains,
            ]
        )
    return format_markdown_table(header, rows) + "\n"


def _report(run: Run) -> MetricReport:
    return MetricReport(tuple(run.entry.scores), run.per_file)


def _gain(metric, comparison):
    mean, interval = comparison["mean_difference"], comparison["ci95"]
    return format_interval(metric, mean, interval, "+")
