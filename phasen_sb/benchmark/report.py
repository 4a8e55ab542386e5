"""Tables and plots of a benchmark."""

import io
from pathlib import Path

from phasen_sb.utils.files import write_atomically

COLUMNS = (
    ("task", "task"),
    ("engine", "engine"),
    ("precision", "precision"),
    ("device", "device"),
    ("threads", "threads"),
    ("seconds", "audio (s)"),
    ("rtf", "time per second of audio"),
    ("speedup", "speed"),
    ("memory", "peak memory (MB)"),
    ("gflops", "GFLOP/s"),
    ("share", "share of peak"),
)
FORMATS = {
    "seconds": "{:g}",
    "rtf": "{:.4f}",
    "speedup": "{:.2f}x",
    "memory": "{:.0f}",
    "gflops": "{:.0f}",
    "share": "{:.0%}",
}


def to_markdown(rows: list[dict]) -> str:
    """A table of measured workloads.

    Arguments
    ---------
    rows : list of dict
        With the keys of ``COLUMNS``; None where nothing is known.

    Returns
    -------
    str

    Example
    -------
    >>> row = dict.fromkeys([key for key, _ in COLUMNS]) | {"rtf": 0.25}
    >>> print(to_markdown([row]).splitlines()[2])
    | - | - | - | - | - | - | 0.2500 | - | - | - | - |
    """
    lines = [" | ".join(title for _, title in COLUMNS)]
    lines.append(" | ".join("---" for _ in COLUMNS))
    for row in rows:
        cells = (
            "-" if row[key] is None else FORMATS.get(key, "{}").format(row[key])
            for key, _ in COLUMNS
        )
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def draw_growth(rows: list[dict], path: Path) -> None:
    """Plots time and memory over the length of the audio.

    Arguments
    ---------
    rows : list of dict
        Measured workloads.
    path : pathlib.Path
        PNG file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    time, memory = figure.subplots(1, 2)
    threads = max(row["threads"] for row in rows)
    groups = {}
    for row in rows:
        if row["task"] in ("train", "load") or row["threads"] != threads:
            continue
        in_chunks = " in chunks" if row["task"] != "enhance" else ""
        name = f"{row['engine']}{in_chunks}, {row['precision']}"
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
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110)
    write_atomically(path, picture.getvalue())
