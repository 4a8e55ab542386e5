"""Turns the files of a source into speech and noise, with a manifest."""

import csv
import io
import re
import unicodedata
import zlib
from collections import Counter, defaultdict
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import numpy as np

from phasen_sb.utils.files import write_atomically

from . import noise, speech
from .credits import READERS, Credits
from .signals import RATE, write_flac
from .table import Files, Source, Table, is_free

#: Changes when other code makes other files of the same sources.
CODE_VERSION = 2
#: Folder of the manifests of the sources.
MANIFESTS = "manifests"


@dataclass(frozen=True)
class Row:
    """A line of a manifest: one file that was made, and where it is from."""

    file: str  # relative to the work folder
    kind: str  # speech or noise
    split: str  # train or far
    label: str  # voice, or kind of noise
    language: str
    seconds: float
    clean_snr: float  # estimate (dB); 0 for noise
    author: str
    licence: str
    source: str
    version: str
    source_files: str


@dataclass(frozen=True)
class Recording:
    """A file of a source, with all that is known about it."""

    name: str
    files: Files
    label: str
    language: str
    author: str
    licence: str


def find_manifest(source: Source, table: Table, work: Path) -> Path:
    """Names the manifest of a source; other settings have another name."""
    held = ",".join(sorted(table.far_languages | table.far_noises))
    number = zlib.crc32(f"{CODE_VERSION} {held}".encode())
    name = f"{source.name}-{source.digest()}-{number:08x}.csv"
    return work / MANIFESTS / name


def make_recordings(
    source: Source, root: Path, version: str, table: Table, work: Path
) -> list[Row]:
    """Makes all utterances and noises of a source, unless they are there.

    ``root`` has the files of the source; the results go to ``work/speech``,
    ``work/noise`` and, held out, ``work/far``. The manifest in
    ``work/manifests`` is written last.
    """
    manifest = find_manifest(source, table, work)
    if manifest.exists():
        return read_rows(manifest)
    dropped: Counter = Counter()
    rows: list[Row] = []

    def add(kind, split, one, prefix, number, samples, snr, names):
        folder = work / kind if split == "train" else work / "far" / kind
        path = folder / one.label / f"{prefix}-{number:04d}.flac"
        write_flac(path, samples, seed=number)
        rows.append(
            Row(
                file=path.relative_to(work).as_posix(),
                kind=kind,
                split=split,
                label=one.label,
                language=one.language,
                seconds=round(len(samples) / RATE, 3),
                clean_snr=snr,
                author=one.author,
                licence=one.licence,
                source=source.name,
                version=version,
                source_files="|".join(names),
            )
        )

    found = _find_recordings(source, root, source.speech)
    for (label, language), group in _group(_apply_far(found, table)).items():
        split = "far" if language in table.far_languages else "train"
        rng = np.random.default_rng(zlib.crc32(f"{label} {language}".encode()))
        words = (
            speech.read_word(root / one.name, one.name, dropped)
            for one in group
        )
        utterances = speech.make_utterances(
            (one for one in words if one),
            group[0].files.least_snr,
            rng,
            dropped,
        )
        for count, one in enumerate(utterances):
            add(
                *("speech", split, _merge(group, one.names)),
                *(f"{source.name}-{language}", count),
                *(one.samples, one.snr, one.names),
            )
    found = _find_recordings(source, root, source.noise)
    for (label, _), group in _group(found).items():
        split = "far" if label in table.far_noises else "train"
        made = _make_noises(root, group, dropped)
        for count, (names, samples, one) in enumerate(made):
            add("noise", split, one, source.name, count, samples, 0.0, names)
    write_rows(manifest, rows)
    hours = sum(row.seconds for row in rows) / 3600
    left_out = ", ".join(f"{n} {why}" for why, n in dropped.most_common())
    print(
        f"{source.name}: {len(rows)} files, {hours:.2f} h; left out: "
        f"{left_out or 'none'}",
        flush=True,
    )
    return rows


def _find_recordings(
    source: Source, root: Path, wanted: tuple[Files, ...]
) -> list[Recording]:
    """Finds the files of all entries of a source, by entry and name."""
    names = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file()
    )
    tables: dict[str, Credits] = {
        one.credits: READERS[one.credits](root) for one in wanted if one.credits
    }
    found = []
    for files in wanted:
        for name in filter(files.match, names):
            author, licence = files.author, files.licence
            if files.credits:
                author, licence = tables[files.credits].get(name, ("", ""))
                if not is_free(licence):
                    continue
            folder = name.split("/")[0]
            label, language = files.fill(author or folder, folder)
            found.append(
                Recording(name, files, _slug(label), language, author, licence)
            )
    return found


def _slug(text: str) -> str:
    """Makes a name of a folder out of a name of a person."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore")
    return re.sub(r"[^a-z0-9_]+", "-", plain.decode().lower()).strip("-")[:60]


def _group(
    recordings: list[Recording],
) -> dict[tuple[str, str], list[Recording]]:
    groups = defaultdict(list)
    for one in recordings:
        groups[one.label, one.language].append(one)
    return dict(sorted(groups.items()))


def _apply_far(recordings: list[Recording], table: Table) -> list[Recording]:
    """Leaves out what would put a voice into training and validation.

    A voice of several languages is held out if most of its recordings are in
    languages that are; the others are left out, in either case.
    """
    count = Counter()
    for one in recordings:
        count[one.label] += 1 if one.language in table.far_languages else -1
    return [
        one
        for one in recordings
        if (one.language in table.far_languages) == (count[one.label] > 0)
    ]


def _make_noises(root: Path, group: list[Recording], dropped: Counter):
    events = []
    for one in group:
        samples = noise.read_noise(root / one.name, dropped, one.files.events)
        if samples is None:
            continue
        if one.files.events:
            events.append((one.name, samples))
        else:
            yield [one.name], samples, one
    if not events:
        return
    rng = np.random.default_rng(zlib.crc32(group[0].label.encode()))
    for names, samples in noise.string_together(events, rng):
        yield names, samples, _merge(group, names)


def _merge(group: list[Recording], names: list[str]) -> Recording:
    """Describes what is made of several recordings of a group."""
    makers = [one for one in group if one.name in names]
    return replace(
        makers[0],
        author="; ".join(sorted({one.author for one in makers} - {""})),
        licence="; ".join(sorted({one.licence for one in makers})),
    )


def write_rows(path: Path, rows: list[Row]) -> None:
    """Writes a manifest."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Row)])
    writer.writerows(astuple(row) for row in rows)
    write_atomically(path, text.getvalue())


def read_rows(path: Path) -> list[Row]:
    """Reads a manifest."""
    with open(path, encoding="utf-8", newline="") as file:
        return [
            Row(
                **{
                    **entry,
                    "seconds": float(entry["seconds"]),
                    "clean_snr": float(entry["clean_snr"]),
                }
            )
            for entry in csv.DictReader(file)
        ]
