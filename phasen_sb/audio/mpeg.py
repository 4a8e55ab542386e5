"""The frames of MPEG audio (MP3), counted one by one."""

import struct
from dataclasses import dataclass, field

from phasen_sb.audio.pieces import Piece

#: kbit/s by (MPEG 1, layer).
BITRATES = {
    (True, 1): range(0, 449, 32),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
                384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256,
                320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224,
                 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}  # fmt: skip
BITRATES[False, 3] = BITRATES[False, 2]
#: Bits of a header that are the same in all frames: version, layer, rate.
SAME = 0xFFFE0C00
#: How far into a file the first frame is looked for.
START = 2**16


@dataclass(frozen=True)
class Frame:
    """What the header of a frame says."""

    header: int
    layer: int
    size: int  # bytes
    samples: int
    rate: int  # Hz
    channels: int

    @property
    def tag_offset(self) -> int:
        """Where the tag with the length of the stream is in a first frame."""
        wide = self.header >> 19 & 1
        return 4 + (
            (32 if wide else 17) if self.channels == 2 else (17 if wide else 9)
        )


def parse_header(header: int) -> Frame | None:
    """Reads the four bytes that a frame starts with; None if it does not."""
    version, layer = header >> 19 & 3, 4 - (header >> 17 & 3)
    index, rate_index = header >> 12 & 15, header >> 10 & 3
    if (
        header >> 21 != 0x7FF
        or version == 1
        or layer == 4
        or index in (0, 15)
        or rate_index == 3
    ):
        return None
    wide = version == 3
    rate = (44100, 48000, 32000)[rate_index] >> (3 - version + 1) // 2
    bitrate = 1000 * BITRATES[wide, layer][index]
    padding = header >> 9 & 1
    samples = 384 if layer == 1 else 576 if layer == 3 and not wide else 1152
    if layer == 1:
        size = (12 * bitrate // rate + padding) * 4
    else:
        size = samples // 8 * bitrate // rate + padding
    channels = 1 if header >> 6 & 3 == 3 else 2
    return Frame(header, layer, size, samples, rate, channels)


@dataclass
class MpegPart:
    """Frames that belong together."""

    first: Frame
    #: Number of frames that the tag in the first one gives, if it has one.
    promised: int | None
    frames: int = 0
    slices: list[list[int]] = field(default_factory=list)

    @property
    def samples(self) -> int:
        """Number of samples, with what encoders put before and behind."""
        return self.frames * self.first.samples

    @property
    def pieces(self) -> list[Piece]:
        """The frames, with a tag in front if they have none that is right."""
        frames: list[Piece] = [(start, end) for start, end in self.slices]
        if self.first.layer != 3 or self.promised is not None:
            return frames
        return [make_tag(self.first, self.frames), *frames]


def make_tag(like: Frame, frames: int) -> bytes:
    """A frame without sound that gives the number of the frames behind it."""
    for index in range(1, 15):
        # Another bit rate, without checksum and padding.
        header = like.header & ~0xF200 | 0x10000 | index << 12
        frame = parse_header(header)
        if frame and frame.size >= 64:
            break
    tag = struct.pack(">I", header).ljust(frame.tag_offset, b"\0")
    return (tag + b"Xing" + struct.pack(">II", 1, frames)).ljust(
        frame.size, b"\0"
    )


def find_parts(data) -> list[MpegPart]:
    """Finds all frames in a file's bytes.

    Parts are what was encoded separately and joined: behind a tag, or with
    another rate or number of channels. What is between frames is left out.
    """
    parts: list[MpegPart] = []
    known: dict[int, Frame | None] = {}
    position, size, apart = 0, len(data), True

    def frame_at(position):
        if position + 4 > size:
            return None
        header = int.from_bytes(data[position : position + 4], "big")
        if header not in known:
            known[header] = parse_header(header)
        frame = known[header]
        return frame if frame and position + frame.size <= size else None

    def in_step(position, frame):
        """Whether two more frames, or the end, follow."""
        for _ in range(2):
            position += frame.size
            if position >= size - 4:
                return True
            following = frame_at(position)
            if following is None:
                return data[position : position + 3] in (b"ID3", b"TAG")
            if (following.header ^ frame.header) & SAME:
                return False
            frame = following
        return True

    while position < size:
        frame = frame_at(position)
        in_line = parts and parts[-1].slices[-1][1] == position
        if frame is None or not (in_line or in_step(position, frame)):
            start = data[position : position + 10]
            if start[:3] == b"ID3" and len(start) == 10:
                a, b, c, d = start[6:]
                position += 10 + (a << 21 | b << 14 | c << 7 | d)
                apart = True
            elif start[:3] == b"TAG" and position + 128 <= size:
                position += 128
                apart = True
            else:
                position = data.find(b"\xff", position + 1)
                if position < 0 or not parts and position > START:
                    break
            continue
        tag = position + frame.tag_offset
        promised = None
        if frame.layer == 3 and data[tag : tag + 4] in (b"Xing", b"Info"):
            fields = data[tag + 4 : tag + 12]
            if len(fields) == 8 and fields[3] & 1:
                promised = int.from_bytes(fields[4:], "big")
            apart = True
            if promised is None:
                position += frame.size
                continue
        part = parts[-1] if parts else None
        if (
            apart
            or part is None
            or (frame.rate, frame.channels)
            != (part.first.rate, part.first.channels)
        ):
            part = MpegPart(frame, promised)
            parts.append(part)
            apart = False
        part.frames += promised is None
        if part.slices and part.slices[-1][1] == position:
            part.slices[-1][1] = position + frame.size
        else:
            part.slices.append([position, position + frame.size])
        position += frame.size
    return [part for part in parts if part.frames]
