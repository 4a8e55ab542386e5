"""The leaderboard as one HTML file that needs nothing else.

Chart.js draws the plot: with 0.2 MB it is small enough to travel inside the
page (Plotly takes 1 to 5 MB), works with mouse and finger, and its MIT licence
allows copies.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from phasen_sb.leaderboard.entries import (
    KINDS,
    SECOND_HAND,
    YES,
    Entry,
)
from phasen_sb.leaderboard.listening import Utterance
from phasen_sb.leaderboard.tables import format_size, rank_entries, to_csv
from phasen_sb.metrics.formatting import format_score
from phasen_sb.metrics.registry import METRICS
from phasen_sb.utils.version import VERSION

# What is made of PESQ comes last.
_COLUMNS = ("pesq_wb", "stoi", "si_sdr", "ssnr", "csig", "cbak", "covl")
# They share their names, and run in this order.
_SCRIPTS = ("board.js", "plot.js", "listening.js", "blind.js")

_SOURCES = {
    re.compile(r"^([\w.-]+/[\w.-]+)@([0-9a-f]{7,40})(?=\s|$)"): (
        "https://github.com/{0}/tree/{1}"
    ),
    re.compile(r"^([\w.-]+/[\w.-]+) (?:issue|pull request) (\d+)"): (
        "https://github.com/{0}/issues/{1}"
    ),
    re.compile(r"^([\w.-]+/[\w.-]+)(?=\s|$)"): "https://github.com/{0}",
    re.compile(r"^arXiv:(\d{4}\.\d{5})"): "https://arxiv.org/abs/{0}",
    re.compile(r"^doi:(10\.\d+/[\w./-]*\w)"): "https://doi.org/{0}",
}


def link_source(source: str) -> Markup:
    """Links the repositories and papers that a source names, in HTML.

    The parts of ``source`` are separated by ";", and each starts with what it
    cites.

    >>> link_source("NASE, Table 1; arXiv:2307.08029 (size)")
    Markup('NASE, Table 1; <a href="https://arxiv.org/abs/2307.08029"
    rel="noreferrer">arXiv:2307.08029</a> (size)')
    """
    return Markup("; ").join(_link(part) for part in source.split("; "))


def _link(part: str) -> Markup:
    for pattern, address in _SOURCES.items():
        if found := pattern.match(part):
            link = Markup('<a href="{}" rel="noreferrer">{}</a>').format(
                address.format(*found.groups()), found.group()
            )
            return link + escape(part[found.end() :])
    return escape(part)


def name_group(entry: Entry) -> str:
    """Names the group that determines the colour of an entry.

    That is "ours", "elsewhere" (ours, on other test data), "retracted",
    "optimised" or "plain".
    """
    if entry.ours:
        return "ours" if entry.comparable else "elsewhere"
    if entry.retracted == YES:
        return "retracted"
    return "optimised" if entry.optimises_metric else "plain"


def _point(index: int, entry: Entry) -> dict:
    return {
        "row": index,
        "name": entry.system,
        "detail": entry.detail,
        "group": name_group(entry),
        "scores": dict(entry.scores),
        "shown": {m: entry.format_score(m) for m in entry.scores},
        "intervals": {m: list(i) for m, i in entry.intervals.items()},
        "optimised": entry.optimises_metric,
        "parameters": entry.parameters_M,
        "macs": entry.macs_G_per_s,
        "latency": entry.latency_ms,
        "testData": entry.test_data,
    }


def load_template(package: str, *filters: Callable) -> Template:
    """Loads ``page.html.j2`` of a package; it calls filters by their names."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {f.__name__: f for f in filters}
    return environment.get_template("page.html.j2")


def to_html(
    entries: Sequence[Entry], utterances: Sequence[Utterance] = ()
) -> str:
    """Writes the page: HTML with styles, scripts, pictures and audio inside.

    ``utterances`` are what can be listened to.
    """
    template = load_template(
        "phasen_sb.leaderboard", format_score, format_size, link_source
    )
    rows = rank_entries(entries)
    kinds = Counter(entry.kind for entry in rows)
    return template.render(
        entries=rows,
        ours=[entry for entry in entries if entry.ours],
        utterances=utterances,
        metrics={metric: METRICS[metric].label for metric in _COLUMNS},
        of_pesq=[m for m in _COLUMNS if METRICS[m].contains_pesq],
        counts={kind: kinds[kind] for kind in KINDS if kinds[kind]},
        second_hand=sum(entry.checked == SECOND_HAND for entry in rows),
        selected=sum(entry.selected_on_test == YES for entry in rows),
        averaged=sum(entry.trainings not in ("", "1") for entry in rows),
        lines=to_csv(rows).splitlines(),
        labels={name: metric.label for name, metric in METRICS.items()},
        group=name_group,
        points=[_point(index, entry) for index, entry in enumerate(rows)],
        style=read_template("page.css"),
        script=Markup("\n").join(map(read_template, _SCRIPTS)),
        chart=_read_chart(),
        version=VERSION,
    )


def read_template(name: str) -> Markup:
    """Reads a style sheet or script to put into a page."""
    text = files("phasen_sb.leaderboard").joinpath("templates", name)
    return Markup(text.read_text(encoding="utf-8"))


def _read_chart() -> Markup:
    script = read_template("chart.umd.min.js")
    # Browsers' developer tools would look for the map next to the page.
    return Markup(re.sub(r"//# sourceMappingURL=.*", "", script))
