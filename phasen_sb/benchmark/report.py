"""The table and the plot of a benchmark."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from phasen_sb.utils.figures import new_figure, save_figure
from phasen_sb.utils.tables import format_markdown_table

#: Key of a workload -> title of its column and format of its values.
COLUMNS = {
    "task": ("task", "{}"),
    "engine": ("engine", "{}"),
    "precision": ("precision", "{}"),
    "device": ("device", "{}"),
    "threads": ("threads", "{}"),
    "neighbours": ("busy neighbours", "{}"),
    "seconds": ("audio (s)", "{:g}"),
    "rtf": ("time per second of audio", "{:.4f}"),
    "speedup": ("speed", "{:.2f}x"),
    "memory": ("peak memory (MB)", "{:.0f}"),
    "gflops": ("GFLOP/s", "{:.0f}"),
    "share": ("share of peak", "{:.0%}"),
}


def to_markdown(rows: Sequence[Mapping]) -> str:
    """Writes a table of measured workloads.

    They have the keys of :data:`COLUMNS`, None where nothing is known.

    Example
    -------
    >>> row = dict.fromkeys(COLUMNS) | {"rtf": 0.25}
    >>> to_markdown([row]).splitlines()[2].replace(" ", "")
    '|-|-|-|-|-|-|-|0.2500|-|-|-|-|'
    """
    cells = (
        [
            "-" if row[key] is None else style.format(row[key])
            for key, (_, style) in COLUMNS.items()
        ]
        for row in rows
    )
    header = [title for title, _ in COLUMNS.values()]
    align = ["left"] * 4 + ["right"] * (len(COLUMNS) - 4)
    return format_markdown_table(header, cells, align) + "\n"


def draw_growth(rows: Sequence[Mapping], path: Path) -> None:
    """Plots time and memory over the length of the audio, as a PNG."""
    figure = new_figure(10, 4)
    time, memory = figure.subplots(1, 2)
    threads = max(row["threads"] for row in rows)
    groups = {}
    for row in rows:
        if row["task"] in ("train", "load") or row["threads"] != threads:
            continue
        if row["neighbours"]:
            continue
        way = row["task"].removeprefix("enhance")
        name = f"{row['engine']}{way}, {row['precision']}"
        groups.setdefault(name, []).append(row)
    for name, group in sorted(groups.items()):
        group.sort(key=lambda row: row["seconds"])
        seconds = [row["seconds"] for row in group]
        time.plot(seconds, [r["rtf"] for r in group], "o-", label=name)
        if all(row["memory"] is not None for row in group):
            memory.plot(seconds, [r["memory"] for r in group], "o-", label=name)
    time.set_ylabel("time per second of audio (s)")
    on_cpu = all(row["device"] == "cpu" for row in rows)
    above = " above the loaded model" if on_cpu else ""
    memory.set_ylabel(f"peak memory{above} (MB)")
    for axes in (time, memory):
        axes.set_xlabel("length of the audio (s)")
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    time.legend(frameon=False, fontsize="small")
    figure.suptitle(f"{threads} threads" if on_cpu else rows[0]["device"])
    save_figure(figure, path)
