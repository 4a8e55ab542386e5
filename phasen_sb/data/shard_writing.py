"""Packs recordings into shards, which :mod:`phasen_sb.data.shards` reads."""

import hashlib
import io
import json
import math
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from phasen_sb.audio.checking import AudioFile
from phasen_sb.audio.formats import FORMATS
from phasen_sb.audio.reading import (
    AudioReader,
    check_whole,
    explain_decoding_error,
)
from phasen_sb.audio.resampling import resample
from phasen_sb.data.bad_files import find_bad_files
from phasen_sb.data.shards import Shard, encode_name, load_webdataset
from phasen_sb.data.splits import Splits, hash_to_position
from phasen_sb.errors import UserError
from phasen_sb.utils.files import read_json, write_atomically, write_json
from phasen_sb.utils.parallel import process_files


@dataclass(frozen=True)
class Piece:
    """A recording, or a part of a long one: a sample of a shard."""

    name: str
    files: dict[str, Path]  #: by signal: ``noisy``, ``clean``, ``noise``
    start: int  #: first sample of the files
    stop: int
    seconds: float


def write_shards(
    splits: Splits,
    kind: str,
    folder: str | Path,
    sample_rate: int = 16000,
    audio_format: str = "flac",
    shard_minutes: float = 15.0,
    piece_seconds: float = 30.0,
    jobs: int | None = None,
) -> dict:
    """Packs recordings into a series of shards, and writes its index.

    Recordings are resampled, cut into pieces of equal length where they are
    too long, and put into an order that depends on their names alone, in which
    each shard is a random sample of its split. Shards that an earlier call
    wrote, and that are as it wrote them, are kept.

    Arguments
    ---------
    splits : dict
        The files of each split, as of
        :func:`phasen_sb.data.splits.split_items`.
    kind : str
        ``pairs``, ``speech`` or ``noise``; the name of the series.
    folder : str or pathlib.Path
        Receives ``{kind}-000000.tar``, ... and ``{kind}.json``.
    sample_rate : int
        Of the samples (Hz).
    audio_format : str
        ``flac`` (16 bit) or ``opus``, which is smaller and loses something.
    shard_minutes : float
        Length of the recordings in a shard, at most.
    piece_seconds : float
        Length of a sample, at most.
    jobs : int, optional
        Threads, each of which holds a shard in memory; by default one for
        each CPU.

    Returns
    -------
    dict
        The index: ``shards`` by name, and ``left_out``, the files that cannot
        be used with the reason.

    Raises
    ------
    UserError
        If the folder holds shards of other recordings or settings, or cannot
        be written to; the format does not have the sample rate; or no
        recording of a split can be used.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> sf.write(folder / "a.wav", np.zeros(48000), 16000)
    >>> files = {"train": {"a": {"clean_wav": folder / "a.wav"}}}
    >>> index = write_shards(files, "speech", folder, piece_seconds=2)
    >>> [(name, facts["samples"]) for name, facts in index["shards"].items()]
    [('speech-000000.tar', 2)]
    """
    load_webdataset()
    try:
        _encode(np.zeros(1), sample_rate, audio_format)
    except sf.SoundFileError as error:
        raise UserError(
            f"Shards in {audio_format} cannot have {sample_rate} Hz "
            f"({explain_decoding_error(error).removeprefix('Error : ')}); give "
            "another sample rate or format."
        ) from error
    paths = [
        path
        for items in splits.values()
        for entry in items.values()
        for path in entry.values()
    ]
    headers = process_files(_read_header, paths, jobs, "Listing")
    facts = dict(zip(paths, headers, strict=True))
    left_out = {
        str(path): problem
        for path, problem in find_bad_files(splits, facts, sample_rate, {})
    }
    plans = [
        (split, pieces)
        for split, items in splits.items()
        for pieces in _fill_shards(
            _cut_pieces(items, facts, left_out, piece_seconds),
            60 * shard_minutes,
        )
    ]
    for split in splits.keys() - {split for split, _ in plans}:
        path, problem = next(
            (str(path), left_out[str(path)])
            for entry in splits[split].values()
            for path in entry.values()
            if str(path) in left_out
        )
        raise UserError(
            f"Of the split {split} no recording can be used: {path} {problem}. "
            "Replace such files, or choose a larger share for that split."
        )
    address = Path(folder).expanduser() / f"{kind}.json"
    index = {
        "kind": kind,
        "sample_rate": sample_rate,
        "format": audio_format,
        "fingerprint": _compute_fingerprint(plans, sample_rate, audio_format),
        "left_out": left_out,
        "shards": {},
    }
    if address.exists():
        _take_over(index, address)
    lock = threading.Lock()

    def pack(number):
        split, pieces = plans[number]
        path = address.with_name(f"{kind}-{number:06d}.tar")
        facts = index["shards"].get(path.name)
        if facts and path.is_file():
            if Shard(str(path), **facts).is_whole(path.read_bytes()):
                return
        shard, bad = _pack(path, split, pieces, sample_rate, audio_format)
        with lock:
            left_out.update(bad)
            facts = asdict(shard)
            del facts["url"]
            index["shards"][path.name] = facts
            index["shards"] = dict(sorted(index["shards"].items()))
            write_json(address, index)

    process_files(pack, range(len(plans)), jobs, "Packing")
    return index


def _read_header(path: Path) -> AudioFile:
    try:
        with AudioReader(path) as file:
            problem = None
            if file.channels != 1:
                problem = f"has {file.channels} channels; make it mono"
            elif not file.frames:
                problem = "has no samples"
            return AudioFile(
                path, file.frames, file.samplerate, problem=problem
            )
    except (UserError, sf.SoundFileError, OSError, TypeError) as error:
        reason = explain_decoding_error(error)
        return AudioFile(path, problem=f"cannot be decoded ({reason})")


def _cut_pieces(items, facts, left_out, piece_seconds):
    """Cuts what is too long; returns the pieces in their order."""
    pieces = []
    for name, entry in items.items():
        if any(str(path) in left_out for path in entry.values()):
            continue
        first = facts[next(iter(entry.values()))]
        files = {key.removesuffix("_wav"): entry[key] for key in entry}
        count = math.ceil(first.samples / first.rate / piece_seconds)
        ends = [first.samples * i // count for i in range(count + 1)]
        for i in range(count):
            number = f"_{i:04d}" if count > 1 else ""
            pieces.append(
                Piece(
                    name + number,
                    files,
                    ends[i],
                    ends[i + 1],
                    (ends[i + 1] - ends[i]) / first.rate,
                )
            )
    return sorted(pieces, key=lambda p: (hash_to_position(p.name), p.name))


def _fill_shards(pieces, seconds):
    shards, filled = [], math.inf
    for piece in pieces:
        if filled + piece.seconds > seconds:
            shards.append([])
            filled = 0.0
        shards[-1].append(piece)
        filled += piece.seconds
    return shards


def _compute_fingerprint(plans, sample_rate, audio_format):
    digest = hashlib.sha256(f"{sample_rate} {audio_format}\n".encode())
    for split, pieces in plans:
        for piece in pieces:
            sizes = {k: path.stat().st_size for k, path in piece.files.items()}
            line = [split, piece.name, piece.start, piece.stop, sizes]
            digest.update(json.dumps(line).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _take_over(index: dict, address: Path) -> None:
    """Adds the shards that an earlier call wrote to the index."""
    before = read_json(address, "delete it to pack all shards again")
    if not isinstance(before, Mapping) or (
        before.get("fingerprint") != index["fingerprint"]
    ):
        raise UserError(
            f"{address} is of shards with other recordings or settings; name "
            "another folder, or delete these shards."
        )
    index["left_out"].update(before["left_out"])
    index["shards"].update(before["shards"])


def _pack(path, split, pieces, sample_rate, audio_format):
    """Writes one shard; returns it, and the files that it leaves out."""
    left_out = {}
    content = io.BytesIO()
    samples, seconds = 0, 0.0
    # Without times, so that the same recordings give the same bytes.
    with load_webdataset().TarWriter(
        content, mtime=0, format="PAX_FORMAT"
    ) as tar:
        for piece in pieces:
            try:
                signals = _read_signals(piece, sample_rate)
            except (ValueError, sf.SoundFileError, OSError) as error:
                names = " and ".join(map(str, piece.files.values()))
                left_out[names] = explain_decoding_error(error)
                continue
            encoded = {
                f"{name}.{audio_format}": _encode(
                    signal, sample_rate, audio_format
                )
                for name, signal in signals.items()
            }
            tar.write({"__key__": encode_name(piece.name)} | encoded)
            samples += 1
            seconds += piece.seconds
    data = content.getvalue()
    write_atomically(path, data)
    checksum = hashlib.sha256(data).hexdigest()
    shard = Shard(
        str(path), split, samples, round(seconds, 3), len(data), checksum
    )
    return shard, left_out


def _read_signals(piece, sample_rate):
    signals = {}
    for name, path in piece.files.items():
        with AudioReader(path) as file:
            file.seek(piece.start)
            signal = file.read(piece.stop - piece.start, dtype="float32")
            if piece.start + len(signal) == file.frames:
                check_whole(file, file.frames)
            rate = file.samplerate
        if len(signal) < piece.stop - piece.start:
            raise ValueError("it ends before its header says")
        if not np.isfinite(signal).all():
            raise ValueError("it has NaN or infinity")
        if rate != sample_rate:
            signal = resample(signal, rate, sample_rate).numpy()
        signals[name] = signal
    # Beyond full scale integers would clip; pairs keep their ratio.
    peak = max(1.0, *(np.abs(signal).max() for signal in signals.values()))
    return {name: signal / peak for name, signal in signals.items()}


def _encode(signal, sample_rate, audio_format):
    container, subtype = FORMATS[audio_format]
    file = io.BytesIO()
    sf.write(file, signal, sample_rate, subtype, format=container)
    return file.getvalue()
