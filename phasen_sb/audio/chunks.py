"""The chunks of WAV, RF64, Wave64, AIFF and CAF files."""

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

#: Chunks that are not audio, however wrong their size is.
KNOWN = frozenset(
    "LIST,id3 ,ID3 ,bext,cue ,iXML,smpl,inst,fact,PEAK,JUNK,junk,PAD ,FLLR,"
    "afsp,DISP,_PMX,axml,chna,umid,cart,plst,acid,strc,levl,MD5 ,r64m,COMM,"
    "MARK,INST,COMT,NAME,AUTH,ANNO,(c) ,APPL,basc,info,free".split(",")
)
#: Zeros, which libsndfile does not take for a chunk either.
NO_NAME = "\0\0\0\0"
#: What tags begin with that are not in a chunk.
TAGS = (b"TAG", b"ID3", b"APETAGEX")
#: Zeros and tags behind the audio are at most so long.
ENDING = 2**16
#: More chunks are not behind the audio of any file.
MOST_CHUNKS = 200
#: No file is so long: sizes that lead there are wrong.
LONGEST_FILE = 2**62


@dataclass(frozen=True)
class Chunk:
    """A part of a file with a name; ``size`` is what its header says."""

    name: str
    start: int  # of the header
    body: int  # where the contents start
    size: int


@dataclass(frozen=True)
class Container:
    """How the chunks of a kind of file are laid out."""

    first: int  # where the first chunk starts
    data: str = "data"  # the chunk with the samples
    name_bytes: int = 4
    size: str = "<I"  # of the size, as in struct
    counted: int = 0  # bytes of a chunk's header in its size
    align: int = 2
    fields: int = 0  # bytes before the samples in the chunk

    @property
    def header(self) -> int:
        """Bytes before the contents of a chunk."""
        return self.name_bytes + struct.calcsize(self.size)

    @property
    def narrow(self) -> bool:
        """Whether sizes have 32 bits."""
        return self.size.endswith("I")

    def pack(self, size: int) -> bytes:
        """The size of a chunk as it is in its header."""
        return struct.pack(self.size, size + self.counted)


CONTAINERS = {
    b"RIFF": Container(12),
    b"RF64": Container(12),
    b"RIFX": Container(12, size=">I"),
    b"FORM": Container(12, "SSND", size=">I", fields=8),
    b"caff": Container(8, size=">q", align=1, fields=4),
    b"riff": Container(40, "data", 16, "<q", 24, 8),  # Wave64
}
FORMS = {b"FORM": (b"AIFF", b"AIFC")}


def find_container(file: BinaryIO) -> Container | None:
    """How a file is laid out; None if it has no chunks."""
    file.seek(0)
    start = file.read(12)
    container = CONTAINERS.get(start[:4])
    if container is None:
        return None
    forms = FORMS.get(start[:4], (b"WAVE",))
    if container.first == 12 and start[8:12] not in forms:
        return None
    return container


def read_chunk(
    file: BinaryIO, container: Container, start: int
) -> Chunk | None:
    """Reads the header of the chunk at ``start``; None at the end."""
    if start > LONGEST_FILE:
        return None
    file.seek(start)
    header = file.read(container.header)
    if len(header) < container.header:
        return None
    name = header[:4].decode("latin-1")
    (size,) = struct.unpack(container.size, header[container.name_bytes :])
    return Chunk(name, start, start + len(header), size - container.counted)


def read_chunks(file: BinaryIO, container: Container) -> Iterable[Chunk]:
    """Reads the headers of chunks, to the one with the samples."""
    start = container.first
    while chunk := read_chunk(file, container, start):
        yield chunk
        if chunk.name in (container.data, NO_NAME) or chunk.size < 0:
            return
        start = _find_next(file, container, chunk)


def _find_next(file, container, chunk):
    """Where the next chunk starts; some writers omit the padding."""
    end = chunk.body + chunk.size
    padded = end + -end % container.align
    if padded != end and container.narrow:
        file.seek(end)
        if file.read(4).decode("latin-1") in KNOWN | {container.data}:
            return end
    return padded


def read_ending(
    file: BinaryIO, container: Container, start: int, strict: bool = False
) -> list[Chunk] | None:
    """Reads the chunks from ``start`` to the end of the file.

    None if something else is there. Tags and zeros are no chunks, but may
    follow them. If ``strict``, the first chunk's name is known and the chunks
    end where the file does.
    """
    file_size = file.seek(0, os.SEEK_END)
    chunks: list[Chunk] = []
    while file_size - start >= container.header:
        chunk = read_chunk(file, container, start)
        end = chunk.body + chunk.size
        known = chunk.name in KNOWN
        printable = chunk.name.isascii() and chunk.name.isprintable()
        fits = 0 <= chunk.size and end <= file_size and chunk.name != NO_NAME
        if len(chunks) == MOST_CHUNKS:
            return None
        if strict and not ((known or chunks) and printable and fits):
            return None
        if not (known or fits and (printable or not container.narrow)):
            return chunks if _is_filling(file, start, file_size) else None
        chunks.append(chunk)
        start = _find_next(file, container, chunk) if fits else file_size
    if strict and (not chunks or start < file_size):
        return None
    file.seek(start)
    rest = file.read()
    return chunks if chunks or not any(rest) or len(rest) < 2 else None


def _is_filling(file, start, file_size):
    if file_size - start > ENDING:
        file.seek(start)
        return file.read(4)[:3] == b"ID3"
    file.seek(start)
    rest = file.read()
    return rest.startswith(TAGS) or not any(rest)
