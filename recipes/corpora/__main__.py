"""``python -m recipes.corpora FOLDER``: builds the corpora, or goes on."""

import argparse
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path

from phasen_sb.errors import UserError, choose
from phasen_sb.utils.files import write_json
from phasen_sb.utils.folders import existing_folder, make_writable_folder
from phasen_sb.utils.parallel import process_files

from . import far, pack
from .obtain import obtain
from .recordings import (
    MANIFESTS,
    Row,
    find_manifest,
    make_recordings,
    read_rows,
    write_rows,
)
from .table import Source, Table, read_table

#: Folders in which everything else is removed.
MADE = ("speech", "noise", "far", far.FOLDER, pack.FOLDER)
SOURCES = Path(__file__).with_name("sources.yaml")
DESCRIPTION = """\
Builds speech and noise to train on, validation_far and a pack for a GPU from
the sources of a table. Started again, it goes on where it stopped.
"""


def build(
    work: Path,
    sources: Path = SOURCES,
    mirrors: Path | None = None,
    jobs: int | None = None,
    pairs: int = 180,
    mib: float = 40.0,
    only: list[str] | None = None,
) -> list[Row]:
    """Builds everything in ``work``; the rows of its manifest are returned.

    The other arguments are the options of the command. Raises a
    :class:`phasen_sb.errors.UserError` if a source cannot be had, or ``work``
    has files that would be lost.
    """
    if pairs < 1:
        raise UserError(f"--pairs is {pairs}; it must be at least 1.")
    if not mib > 0:
        raise UserError(f"--mib is {mib}; it must be above 0.")
    _claim(work)
    table = read_table(sources)
    names = [one.name for one in table.sources]
    for name in only or ():
        choose("--only", name, names)
    chosen = [one for one in table.sources if not only or one.name in only]
    process_files(
        partial(_build_source, table, work, sources.parent, mirrors),
        chosen,
        jobs,
        "Sources",
    )
    manifests = [find_manifest(one, table, work) for one in table.sources]
    rows = [row for one in manifests if one.exists() for row in read_rows(one)]
    _remove_others(work, rows, manifests)
    write_rows(work / "manifest.csv", rows)
    far.make_validation(work, rows, pairs)
    pack.make_pack(work, rows, mib)
    write_json(work / "summary.json", summarize(rows))
    return rows


def _claim(work: Path) -> None:
    """Refuses a folder in which others' files would be taken for leftovers."""
    manifests = work / MANIFESTS
    there = [name for name in MADE if (work / name).exists()]
    if there and not manifests.exists():
        raise UserError(
            f"{work} has a folder {there[0]}, but no corpora were built there; "
            "give another folder, since what is in it would be removed."
        )
    manifests.mkdir(parents=True, exist_ok=True)


def _remove_others(work: Path, rows: list[Row], manifests: list[Path]) -> None:
    """Removes what an earlier table, or a build that was stopped, has left."""
    kept = {work / row.file for row in rows} | set(manifests)
    for pattern in ("speech/*/*", "noise/*/*", "far/*/*/*", f"{MANIFESTS}/*"):
        for path in work.glob(pattern):
            if path not in kept:
                path.unlink()


def _build_source(
    table: Table,
    work: Path,
    tables: Path,
    mirrors: Path | None,
    source: Source,
) -> None:
    root, version = obtain(source, work, mirrors, tables)
    if source.version and version != source.version:
        print(f"{source.name}: {version} in place of {source.version}")
    make_recordings(source, root, version, table, work)


def summarize(rows: list[Row]) -> dict:
    """Sums up hours by split, voice, language and kind of noise."""
    summary: dict = {}
    for split in ("train", "far"):
        hours: dict = defaultdict(lambda: defaultdict(float))
        for row in rows:
            if row.split == split:
                hours[row.kind][row.label] += row.seconds / 3600
        languages = {
            row.language for row in rows if row.split == split and row.language
        }
        summary[split] = {
            "speech_hours": round(sum(hours["speech"].values()), 2),
            "voices": len(hours["speech"]),
            "languages": len(languages),
            "noise_hours": round(sum(hours["noise"].values()), 2),
            "noises": {
                label: round(value, 3)
                for label, value in sorted(hours["noise"].items())
            },
            "hours_of_voices": {
                label: round(value, 3)
                for label, value in sorted(
                    hours["speech"].items(), key=lambda item: -item[1]
                )
            },
        }
    return summary


def main(arguments: list[str]) -> None:
    """Runs the command with its arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.corpora", description=DESCRIPTION
    )
    parser.add_argument("work", help="folder for all that is made")
    parser.add_argument(
        "--sources",
        type=Path,
        default=SOURCES,
        metavar="YAML",
        help="another table of sources",
    )
    parser.add_argument(
        "--mirrors",
        metavar="FOLDER",
        help="Git directories named owner+name, in place of the network",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="SOURCE", help="sources to build"
    )
    parser.add_argument(
        "--pairs",
        type=int,
        default=180,
        help="of validation_far (default: 180)",
    )
    parser.add_argument(
        "--mib",
        type=float,
        default=40.0,
        help="size of the pack (default: 40)",
    )
    parser.add_argument("--jobs", type=int, help="threads (default: all cores)")
    options = vars(parser.parse_args(arguments))
    work = make_writable_folder(options.pop("work"), "of the corpora")
    if options["mirrors"]:
        options["mirrors"] = existing_folder(options["mirrors"], "--mirrors")
    rows = build(work, **options)
    for split, facts in summarize(rows).items():
        print(
            f"{split}: speech {facts['speech_hours']} h, {facts['voices']} "
            f"voices, {facts['languages']} languages; noise "
            f"{facts['noise_hours']} h, {len(facts['noises'])} kinds"
        )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"{error}")
