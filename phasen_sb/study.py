"""Studies: trainings that differ in named settings, and their table.

Authors
 * The phasen_sb authors 2026
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from phasen_sb.configuration import read_yaml
from phasen_sb.errors import UserError
from phasen_sb.leaderboard.runs import Run, read_runs
from phasen_sb.leaderboard.tables import size
from phasen_sb.metrics.registry import METRICS
from phasen_sb.metrics.report import MetricReport
from phasen_sb.metrics.statistics import compare

KEYS = {"recipe", "runs", "cumulative"}


@dataclass
class Study:
    """What is trained.

    Arguments
    ---------
    name : str
        Of the study's file.
    recipe : str
        The YAML of all trainings.
    runs : dict
        For each training's name what it changes in the recipe. The others
        are compared with the first.
    """

    name: str
    recipe: str
    runs: dict[str, dict]


def read_study(path: Path) -> Study:
    """Reads a study's YAML.

    Arguments
    ---------
    path : pathlib.Path
        With ``recipe``, ``runs``, and perhaps ``cumulative``: then each run
        has the settings of those before it, too.

    Returns
    -------
    Study

    Raises
    ------
    UserError
        If it is not of that form.

    Example
    -------
    >>> path = getfixture("tmp_path") / "mine.yaml"
    >>> _ = path.write_text(
    ...     "{recipe: phasen.yaml, cumulative: true, runs: {a: {}, "
    ...     "b: {network: {blocks: 2}}, c: {lr: 1, network: {n_fft: 4}}}}"
    ... )
    >>> read_study(path).runs["c"]
    {'network': {'blocks': 2, 'n_fft': 4}, 'lr': 1}
    """
    content = read_yaml(path)
    runs = content.get("runs")
    if not {"recipe", "runs"} <= set(content) <= KEYS:
        raise UserError(
            f"{path} has the keys {', '.join(content)}; a study has 'recipe', "
            "'runs', and perhaps 'cumulative'."
        )
    if not isinstance(runs, Mapping) or not all(
        isinstance(changes, Mapping) for changes in runs.values()
    ):
        raise UserError(
            f"'runs' of {path} must say for each name what it changes, such "
            "as 'no_remix: {remix_probability: 0}'."
        )
    changes: dict = {}
    settled = {}
    for name, change in runs.items():
        base = changes if content.get("cumulative") else {}
        changes = {**base}
        for key, value in change.items():
            if isinstance(value, Mapping):
                value = {**base.get(key, {}), **value}
            changes[str(key)] = value
        settled[str(name)] = changes
    return Study(path.stem, str(content["recipe"]), settled)


def command_line(study: Study, name: str, output_folder: Path) -> list[str]:
    """Arguments of ``recipes/train.py`` for one of the trainings.

    Arguments
    ---------
    study : Study
        The study.
    name : str
        The training.
    output_folder : pathlib.Path
        Where it writes.

    Returns
    -------
    list of str

    Example
    -------
    >>> study = Study("s", "phasen.yaml", {"a": {"network": {"blocks": 2}}})
    >>> command_line(study, "a", Path("out"))
    ['phasen.yaml', '--output_folder', 'out', '--network', '{blocks: 2}']
    """
    words = [study.recipe, "--output_folder", str(output_folder)]
    for key, value in study.runs[name].items():
        words += [f"--{key}", _as_yaml(value)]
    return words


def _as_yaml(value):
    if isinstance(value, Mapping):
        parts = (f"{key}: {_as_yaml(part)}" for key, part in value.items())
        return f"{{{', '.join(parts)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_as_yaml, value))}]"
    return "null" if value is None else str(value)


def table(study: Study, folders: Mapping[str, Path]) -> str:
    """Scores of all trainings, and what each gains over the first.

    Arguments
    ---------
    study : Study
        The study.
    folders : dict
        For each training that has finished its output folder.

    Returns
    -------
    str
        A Markdown table; brackets hold 95 % bootstrap intervals, of the mean
        difference over the same files where a difference stands.
    """
    runs = dict(
        zip(
            folders,
            read_runs(f"{name}={folder}" for name, folder in folders.items()),
            strict=True,
        )
    )
    reports = {name: _report(run) for name, run in runs.items()}
    first_name, first = next(iter(reports.items()))
    metrics = first.metrics
    labels = [METRICS[metric].label for metric in metrics]
    rows = [
        ["", "M parameters", *labels, *(f"gain in {name}" for name in labels)]
    ]
    noisy = next(iter(runs.values())).noisy
    if noisy is not None:
        cells = [_number(m, noisy.scores.get(m)) for m in metrics]
        rows.append(["noisy input", "", *cells, *[""] * len(metrics)])
    for name, run in runs.items():
        gains = [""] * len(metrics)
        if name != first_name:
            compared = compare(first, reports[name])
            gains = [_gain(metric, compared[metric]) for metric in metrics]
        rows.append(
            [
                name,
                size(run.entry.parameters_M),
                *(_number(m, run.entry.scores.get(m)) for m in metrics),
                *gains,
            ]
        )
    rows.insert(1, ["---"] * len(rows[0]))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _report(run: Run) -> MetricReport:
    return MetricReport(tuple(run.entry.scores), run.per_file)


def _number(metric, value, sign=""):
    if value is None:
        return "-"
    return f"{value:{sign}.{3 if 'stoi' in metric else 2}f}"


def _gain(metric, comparison):
    text = _number(metric, comparison["mean_difference"], "+")
    if comparison["ci95"] is None:
        return text
    low, high = (_number(metric, end, "+") for end in comparison["ci95"])
    return f"{text} [{low}, {high}]"
