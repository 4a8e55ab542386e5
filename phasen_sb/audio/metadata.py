"""Keeps what else is in a file: time codes, markers, titles, covers.

Chunks of WAV and AIFF are copied as they are, tags of FLAC, Ogg and MP3 by
mutagen. From one kind to another go text that both know, and pictures.
"""

import base64
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mutagen import FileType, MutagenError
from mutagen.easyid3 import EasyID3
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, ID3, ID3NoHeaderError
from mutagen.mp3 import MP3
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis

from phasen_sb.audio.chunks import find_container, read_chunks, read_ending
from phasen_sb.audio.formats import AudioFormat
from phasen_sb.audio.lengths import find_contents

#: Chunks that belong to the samples as they were stored, and filling.
OWN = frozenset(
    "fmt ,data,fact,PEAK,JUNK,junk,PAD ,FLLR,ds64,levl,MD5 ,COMM,SSND,FVER,"
    "free,desc,chan,kuki,pakt,peak,info,NAME,AUTH,ANNO,(c) ".split(",")
)
#: Of these, AIFF copies the texts, which libsndfile writes anywhere else.
TEXTS = frozenset(("NAME", "AUTH", "ANNO", "(c) "))
PICTURE = "metadata_block_picture"
FRONT_COVER = 3  # as FLAC and ID3 number it


@dataclass
class Metadata:
    """What a file has besides samples, and how to write it to another."""

    kind: str  # the same kind takes everything
    #: Names and contents.
    chunks: list[tuple[str, bytes]] = field(default_factory=list)
    tags: dict[str, list[str]] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    #: As mutagen read it.
    file: FileType | None = None

    @property
    def size(self) -> int:
        """Bytes of the chunks, each with its header and padding."""
        return sum(len(body) + 9 for _, body in self.chunks)

    def copies(self, target: AudioFormat) -> bool:
        """Whether a file of this format takes everything as it is."""
        known = self.file or (self.chunks and self.kind in CHUNKED)
        return bool(known) and self.kind == _name_kind(target)

    def name_lost(self, target: AudioFormat) -> str | None:
        """Says in a sentence what a file of this format cannot keep."""
        if self.copies(target):
            return None
        lost = [
            f"{name.strip()} chunk"
            for name, body in self.chunks
            if name not in OWN and body[:4] != b"INFO"
        ]
        kind = _name_kind(target)
        if kind == "MP3":
            lost += [
                f"tag {key}" for key in self.tags if key not in EasyID3.Set
            ]
        elif kind not in WRITERS:
            lost += [f"tag {key}" for key in self.tags if key not in COMMON]
            lost += ["cover"] if self.pictures else []
        if not lost:
            return None
        names = ", ".join(dict.fromkeys(lost))
        return f"not kept, as {target.format} has no place for it: {names}."

    def write(self, path: Path, target: AudioFormat) -> None:
        """Adds everything that has a place to a file of this format."""
        kind = _name_kind(target)
        if self.copies(target) and self.chunks:
            _append_chunks(path, self.chunks)
        elif kind == "MP3" and self.copies(target):
            _copy_id3(self.file.tags, path)
        elif kind == "MP3" and (self.tags or self.pictures):
            self._write_id3(path)
        elif kind in WRITERS and (self.tags or self.pictures or self.file):
            self._write_comments(path, WRITERS[kind])

    def _write_id3(self, path):
        try:
            tags = ID3(path)
        except ID3NoHeaderError:
            tags = ID3()
        for index, picture in enumerate(self.pictures):
            # ID3 has one picture of each description.
            earlier = [one.desc for one in self.pictures[:index]]
            tags.add(
                APIC(
                    mime=picture.mime,
                    type=picture.type,
                    desc=picture.desc + " " * earlier.count(picture.desc),
                    data=picture.data,
                )
            )
        tags.save(path)
        easy = EasyID3(path)
        for key, values in self.tags.items():
            if key in EasyID3.Set:
                with suppress(ValueError):  # two where ID3 has a place for one
                    easy[key] = values
        easy.save(path)

    def _write_comments(self, path, kind):
        file = kind(path)
        if file.tags is None:
            file.add_tags()
        if type(self.file) is kind:
            file.tags[:] = list(self.file.tags or [])
        else:
            for key, values in self.tags.items():
                file.tags[key] = values
        for picture in self.pictures:
            if kind is FLAC:
                file.add_picture(picture)
            elif type(self.file) is not kind:
                text = base64.b64encode(picture.write()).decode("ascii")
                file.tags.append((PICTURE, text))
        if kind is FLAC and type(self.file) is FLAC:
            copied = (2, 5)  # of applications, and a cue sheet
            file.metadata_blocks += [
                block
                for block in self.file.metadata_blocks
                if block.code in copied
            ]
        file.save()


#: Kinds whose chunks are copied.
CHUNKED = ("WAV", "WAVBIG", "AIFF")
#: Kinds with Vorbis comments.
WRITERS = {"FLAC": FLAC, "VORBIS": OggVorbis, "OPUS": OggOpus}
#: Texts that libsndfile keeps in any format.
COMMON = frozenset(
    "title,copyright,software,encoder,artist,comment,description,date,album,"
    "license,tracknumber,genre".split(",")
)


def _name_kind(audio: AudioFormat) -> str:
    if audio.format == "OGG":
        return audio.subtype
    big = "BIG" if audio.endian == "BIG" else ""
    return {"WAVEX": "WAV", "RF64": "WAV"}.get(audio.format, audio.format) + (
        big if audio.format.startswith("WAV") else ""
    )


def read_metadata(path: Path, audio: AudioFormat) -> Metadata:
    """Reads what else is in a file of this format."""
    kind = _name_kind(audio)
    if kind not in (*WRITERS, "MP3"):
        return Metadata(kind, _read_chunks(path, kind))
    try:
        file = (MP3 if kind == "MP3" else WRITERS[kind])(path)
    except MutagenError:
        return Metadata(kind)  # What libsndfile reads is kept.
    if not file.tags and not getattr(file, "pictures", None):
        return Metadata(kind)
    if kind == "MP3" and file.tags.version < (2, 0):
        return Metadata(kind)  # ID3v1 has nothing that libsndfile drops.
    if kind == "MP3":
        return Metadata(
            kind,
            tags=_read_easy(path),
            pictures=[
                make_picture(one.mime, one.data, int(one.type), one.desc)
                for one in file.tags.getall("APIC")
            ],
            file=file,
        )
    tags = {key.lower(): values for key, values in (file.tags or {}).items()}
    pictures = [*getattr(file, "pictures", [])]
    for text in tags.pop(PICTURE, []):
        try:
            pictures.append(Picture(base64.b64decode(text)))
        except (ValueError, MutagenError):
            continue
    return Metadata(kind, tags=tags, pictures=pictures, file=file)


def _read_easy(path):
    try:
        return dict(EasyID3(path))
    except MutagenError:
        return {}


def make_picture(
    mime: str, data: bytes, kind: int = FRONT_COVER, description: str = ""
) -> Picture:
    """Makes a picture of its type, such as image/png, and its bytes."""
    picture = Picture()
    picture.mime, picture.type = mime, kind
    picture.desc, picture.data = description, data
    return picture


def _read_chunks(path, kind):
    contents = find_contents(path)
    with open(path, "rb") as file:
        container = find_container(file)
        if container is None:
            return []
        size = path.stat().st_size
        found = list(read_chunks(file, container))
        if found and found[-1].name == container.data:
            data = found.pop()
            end = data.body + data.size
            if contents is not None and contents.end is not None:
                end = contents.end
            for start in (end + -end % container.align, end):
                if behind := read_ending(file, container, start):
                    found += behind
                    break
        chunks = []
        for chunk in found:
            if chunk.name in OWN and not (
                kind == "AIFF" and chunk.name in TEXTS
            ):
                continue
            if 0 <= chunk.size <= size - chunk.body:
                file.seek(chunk.body)
                chunks.append((chunk.name, file.read(chunk.size)))
        return chunks


def _append_chunks(path, chunks):
    with open(path, "r+b") as file:
        magic = file.read(4)
        order = ">" if magic in (b"RIFX", b"FORM") else "<"
        if file.seek(0, 2) % 2:
            file.write(b"\0")
        for name, body in chunks:
            size = struct.pack(order + "I", len(body))
            file.write(name.encode("latin-1") + size + body)
            file.write(b"\0" * (len(body) % 2))
        size = file.tell() - 8
        if magic == b"RF64":
            file.seek(20)  # in the ds64 chunk, which is the first
            file.write(struct.pack("<q", size))
        else:
            file.seek(4)
            file.write(struct.pack(order + "I", size))


def _copy_id3(tags, path):
    old = tags.version[1] == 3
    if old:
        tags.update_to_v23()
    tags.save(path, v2_version=3 if old else 4)
