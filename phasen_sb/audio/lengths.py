"""Finds out how much audio a file has, whatever its header says.

Recorders that die, pipes and files above 4 GiB leave wrong lengths in headers,
and joined files have several. libsndfile believes the first header; here it
is given another in the place of a wrong one, and each part by itself.
"""

import mmap
import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import soundfile as sf

from phasen_sb.audio.chunks import (
    ENDING,
    KNOWN,
    Container,
    find_container,
    read_chunks,
    read_ending,
)
from phasen_sb.audio.mpeg import find_parts
from phasen_sb.audio.pieces import Piece, PiecedFile
from phasen_sb.utils.files import native_path

#: A header may be wrong by so many bytes; a file that lacks more was cut.
EXCESS = 4096
#: What a FLAC file starts with: a block of 34 bytes, with its length in it.
FLAC_START = b"fLaC\0\0\0\x22"
FLAC_LONGEST = 2**36 - 1


@dataclass(frozen=True)
class Contents:
    """The audio in a file: parts that each are like a file of their own."""

    parts: tuple[tuple[Piece, ...], ...]
    note: str  # what was assumed
    end: int | None = None  # of the samples, where chunks may follow


def find_contents(path: str | os.PathLike) -> Contents | None:
    """Says what the audio in a file is; None if it is as the header says."""
    status = os.stat(path)
    return _find_contents(Path(path), status.st_size, status.st_mtime_ns)


@lru_cache(1024)
def _find_contents(path, size, modified):
    with open(path, "rb") as file:
        container = find_container(file)
        start = file.seek(0) or file.read(4)
        if container is not None:
            if container.narrow and (
                joined := _split_joined(file, size, start)
            ):
                return joined
            return _check_chunks(file, size, container, start)
        if start in (b".snd", b"dns."):
            return _check_au(file, size)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if start == b"OggS":
                return _split_ogg(data, size)
            if (
                start in (b"fLaC", b"ID3\3", b"ID3\4")
                and data.find(FLAC_START, 0, ENDING) >= 0
            ):
                return _split_flac(path, data, size)
            return _check_mpeg(path, data)


# ---------------------------------------------------------------------- chunks


def _split_joined(file: BinaryIO, size: int, magic: bytes):
    """Splits WAV or AIFF files that were joined; None if it is only one."""
    order = ">I" if magic in (b"RIFX", b"FORM") else "<I"
    parts: list[tuple[Piece, ...]] = []
    file.seek(8)
    form = file.read(4)
    start, cut = 0, ""
    while size - start >= 12:
        file.seek(start)
        head = file.read(12)
        if head[:4] != magic:
            return None
        (length,) = struct.unpack(order, head[4:8])
        end = start + 8 + length
        if end > size:
            if not parts or head[8:] != form or size - start <= EXCESS:
                return None
            end, cut = size, " (the last may be cut)"
        parts.append(((start, end),))
        file.seek(end)
        start = end if file.read(4) == magic else end + length % 2
    if len(parts) < 2:
        return None
    return Contents(tuple(parts), _joined(len(parts), cut))


def _check_chunks(
    file: BinaryIO, size: int, container: Container, magic: bytes
):
    before = list(read_chunks(file, container))
    if not before or before[-1].name != container.data:
        return None
    chunk = before.pop()
    said = chunk.size
    if magic == b"RF64" and said in (0xFFFFFFFF, 0):
        said = _read_ds64(file, before)
    there = size - chunk.body
    length = _measure_data(file, container, chunk, said, there)
    if length is None or there <= container.fields:
        return None
    end = chunk.body + length
    given = f"{said - container.fields} bytes" if said > 0 else "no length"
    return Contents(
        (_rewrite(file, size, container, before, chunk, end, magic),),
        f"its header says {given}, but {length - container.fields} bytes of "
        "audio are there; all of it is used.",
        end,
    )


def _read_ds64(file, before):
    for chunk in before:
        if chunk.name == "ds64":
            file.seek(chunk.body + 8)
            return struct.unpack("<q", file.read(8))[0]
    return -1


def _measure_data(file, container, chunk, said, there):
    """How long the data are; None if that is as the header says, or less."""
    unknown = said < 0 or (
        container.narrow
        and (0x7F000000 <= said <= 0x80001000 or said >= 0xFFFF0000)
        and said > there
    )
    excess = said - there
    if excess > EXCESS and not unknown:
        return None  # The file was cut.
    if not unknown and excess <= 0:
        if excess == 0 or _ends(file, container, chunk.body + said):
            return None
        if container.narrow:
            for turns in range(there - said >> 32, 0, -1):
                length = said + (turns << 32)
                if length == there or _ends(
                    file, container, chunk.body + length
                ):
                    return length
    return _find_ending(file, container, chunk, said, there) or there


def _ends(file, container, end):
    """Whether the data end there: chunks, tags or nothing follows."""
    starts = {end, end + -end % container.align}
    return any(
        read_ending(file, container, start) is not None for start in starts
    )


def _find_ending(file, container, chunk, said, there):
    """Where chunks follow that a wrong length does not lead to."""
    if not container.narrow:
        return None
    from_end = max(0, there - ENDING)
    near = range(max(0, said - 64), min(there, said + 64))
    file.seek(chunk.body + from_end)
    rest = file.read()
    found = set(near)
    for name in KNOWN:
        position = rest.find(name.encode())
        while position >= 0:
            found.add(from_end + position)
            position = rest.find(name.encode(), position + 1)
    for offset in sorted(found):
        if read_ending(file, container, chunk.body + offset, strict=True):
            return offset
    return None


def _rewrite(file, size, container, before, chunk, end, magic):
    """The file with a header that is right."""
    file.seek(0)
    head = bytearray(file.read(chunk.body))
    length = end - chunk.body
    place = chunk.start + container.name_bytes
    behind: tuple[Piece, ...] = ((chunk.body, size),)
    if not container.narrow:
        head[place : chunk.body] = container.pack(length)
        if magic == b"riff":
            head[16:24] = struct.pack("<q", size)
        return bytes(head), *behind
    whole = struct.calcsize(container.size)
    if max(length, size) < 2**32 - 16 or container.size == ">I":
        head[:4] = b"RIFF" if magic == b"RF64" else magic
        head[4:8] = struct.pack(container.size, min(size - 8, 2**32 - 1))
        head[place : place + whole] = container.pack(min(length, 2**32 - 1))
        return bytes(head), *behind
    head = bytearray(b"RF64\xff\xff\xff\xffWAVE")
    head += b"ds64" + struct.pack("<IqqqI", 28, size + 28, length, 0, 0)
    for one in before:
        if one.name != "ds64":
            file.seek(one.start)
            head += file.read(one.body + one.size - one.start)
            head += b"\0" * (one.size % 2)
    return bytes(head) + b"data\xff\xff\xff\xff", *behind


def _check_au(file, size):
    file.seek(0)
    head = file.read(12)
    order = ">" if head[:4] == b".snd" else "<"
    if len(head) < 12:
        return None
    start, said = struct.unpack(order + "II", head[4:])
    there = size - start
    cut = there + EXCESS < said and not 0x7FFF0000 <= said <= 0x80001000
    if said in (there, 0xFFFFFFFF) or there <= 0 or cut:
        return None
    return Contents(
        ((head[:8] + b"\xff\xff\xff\xff", (12, size)),),
        f"its header says {said} bytes, but {there} bytes of audio are there; "
        "all of it is used.",
    )


# ------------------------------------------------------------------- FLAC, Ogg


def _find_all(data, pattern):
    position = data.find(pattern)
    while position >= 0:
        yield position
        position = data.find(pattern, position + 1)


def _split_flac(path, data, size):
    starts = [s for s in _find_all(data, FLAC_START) if s + 42 <= size]
    if not starts:
        return None
    parts: list[tuple[Piece, ...]] = []
    unknown = False
    for start, end in zip(starts, [*starts[1:], size], strict=True):
        # The lowest 36 bits are the number of samples, or zero.
        (fields,) = struct.unpack(">Q", data[start + 18 : start + 26])
        pieces: tuple[Piece, ...] = ((start, end),)
        if fields & FLAC_LONGEST == 0:
            unknown = True
            head, rest = data[start : start + 18], (start + 26, end)
            guess = struct.pack(">Q", fields | FLAC_LONGEST)
            samples = _count_samples(path, (head + guess, rest))
            pieces = (head + struct.pack(">Q", fields | samples), rest)
        parts.append(pieces)
    if len(parts) > 1:
        return Contents(tuple(parts), _joined(len(parts)))
    if not unknown:
        return None
    return Contents(
        tuple(parts), "its header gives no length; all of it is used."
    )


class _Stream(sf.SoundFile):
    """Read without seeking, which fails where a length is wrong."""

    def seekable(self):
        return False


def _count_samples(path, pieces):
    samples = 0
    with PiecedFile(path, pieces) as raw, _Stream(raw) as file:
        try:
            while count := len(file.read(4096, dtype="float32")):
                samples += count
        except sf.SoundFileError:
            pass  # Reported where the file is read.
    return samples


def _joined(count, remark=""):
    return (
        f"it has {count} recordings, one behind the other{remark}; all are "
        "used."
    )


def _split_ogg(data, size):
    """Splits where a new stream begins behind pages of another."""
    starts, end = [], -1
    for start in _find_all(data, b"OggS\0\2"):
        if start + 27 > size:
            break
        if start != end:
            starts.append(start)
        segments = data[start + 26]
        body = start + 27 + segments
        end = body + sum(data[start + 27 : body])
    if len(starts) < 2:
        return None
    ends = [*starts[1:], size]
    parts = tuple(((s, e),) for s, e in zip(starts, ends, strict=True))
    return Contents(parts, _joined(len(parts)))


# ------------------------------------------------------------------------ MPEG


def _check_mpeg(path, data):
    try:
        with sf.SoundFile(native_path(path)) as file:
            if file.format != "MP3":
                return None
            promised = file.frames
    except (sf.SoundFileError, TypeError):
        promised = None
    parts = find_parts(data)
    if not parts:
        return None
    pieces = tuple(tuple(part.pieces) for part in parts)
    if promised is None:
        covered = sum(e - s for part in parts for s, e in part.slices)
        if covered < 0.9 * len(data):
            return None  # Another kind of file, such as a video.
        note = "it starts in the middle of a stream; all of it is used."
        return Contents(pieces, note)
    if len(parts) > 1:
        return Contents(pieces, _joined(len(parts)))
    part = parts[0]
    if part.promised is not None:
        right = part.frames <= part.promised + 1
        # It may be less where frames are missing, which is seen in reading.
    else:
        right = abs(promised - part.samples) <= part.first.samples
    if right:
        return None
    if part.promised is not None:
        part.promised = None
        first = part.slices[0]
        first[0] += part.first.size
    return Contents(
        (tuple(part.pieces),),
        f"its header promises {promised} samples, but its frames hold about "
        f"{part.samples}; all are used.",
    )
