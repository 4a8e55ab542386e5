"""A file that is put together from parts of another and bytes in between."""

import io
import os
from pathlib import Path

#: Bytes, or a part of the file from one offset to another.
Piece = bytes | tuple[int, int]


class PiecedFile(io.RawIOBase):
    """Reads as if a file consisted of ``pieces`` of the file at ``path``.

    libsndfile reads it in the place of a file whose header is wrong, which
    stays as it is.
    """

    def __init__(self, path: str | os.PathLike, pieces: list[Piece]):
        super().__init__()
        self.name = str(path)
        self._file = open(Path(path), "rb")
        self._pieces = []
        end = 0
        for piece in pieces:
            start = end
            whole = isinstance(piece, bytes)
            end += len(piece) if whole else piece[1] - piece[0]
            self._pieces.append((start, end, piece))
        self._size = end
        self._position = 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def readinto(self, buffer):
        done = 0
        for start, end, piece in self._pieces:
            if not start <= self._position < end:
                continue
            offset = self._position - start
            count = min(len(buffer) - done, end - self._position)
            if isinstance(piece, bytes):
                data = piece[offset : offset + count]
            else:
                self._file.seek(piece[0] + offset)
                data = self._file.read(count)
            buffer[done : done + len(data)] = data
            done += len(data)
            self._position += len(data)
            if done == len(buffer) or len(data) < count:
                break
        return done

    def seek(self, offset, whence=os.SEEK_SET):
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}
        self._position = max(0, base.get(whence, self._size) + offset)
        return self._position

    def tell(self):
        return self._position

    def close(self):
        self._file.close()
        super().close()
