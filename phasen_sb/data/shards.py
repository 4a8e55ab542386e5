"""Shards: tar archives of recordings, and the index that describes them.

A series of shards, ``speech-000000.tar`` and so on, lies in a folder or behind
an HTTP server, and its index, ``speech.json``, beside it. The index says what
each shard is for (training, validation or test), its size and its checksum.
Shards are in WebDataset's form: the files of a sample follow each other and
have one name, such as ``a.noisy.flac`` and ``a.clean.flac``.
"""

import hashlib
import http.client
import io
import json
import logging
import os
import re
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from phasen_sb.errors import UserError

#: What a series may hold, by its name: the signals of each sample.
KINDS = {
    "pairs": ("noisy", "clean"),
    "speech": ("clean",),
    "noise": ("noise",),
}
SPLITS = ("train", "valid", "test")
#: How often a file on a server is read before it counts as broken.
ATTEMPTS = 4
#: Seconds that a server may keep silent.
TIMEOUT = 30

logger = logging.getLogger(__name__)


class BrokenShard(UserError):
    """A shard that cannot be read, or is not what its index says."""


@dataclass(frozen=True)
class Shard:
    """One tar archive of a series."""

    url: str  #: an absolute path, or ``http(s)://...``
    split: str  #: one of :data:`SPLITS`
    samples: int
    seconds: float
    bytes: int
    sha256: str

    def is_whole(self, content: bytes) -> bool:
        """Tells whether a content is what was packed."""
        return hashlib.sha256(content).hexdigest() == self.sha256


@dataclass(frozen=True)
class Sample:
    """The encoded signals of a sample."""

    id: str
    signals: dict[str, bytes]  #: by name: ``noisy``, ``clean``, ``noise``
    url: str  #: of its shard
    suffix: str  #: of the signals' files: ``flac`` or ``opus``


def load_webdataset():
    """Imports ``webdataset``; raises UserError if it is not installed."""
    try:
        import webdataset  # an optional package
    except ImportError as error:
        raise UserError(
            'Shards need the package webdataset: pip install "phasen_sb[scale]"'
            "."
        ) from error
    return webdataset


def is_shards(name: str | os.PathLike | None) -> bool:
    """Tells whether a name is that of shards, not of a folder.

    Example
    -------
    >>> is_shards("speech-{000000..000127}.tar"), is_shards("speech")
    (True, False)
    """
    return str(name).endswith(".tar")


def find_shards(
    pattern: str | os.PathLike, kind: str, sample_rate: int
) -> dict[str, list[Shard]]:
    """Lists the shards that a pattern names, by what they are for.

    Arguments
    ---------
    pattern : str or pathlib.Path
        A path, or an address that starts with ``http://`` or ``https://``. Of
        ``{000..127}``, and of ``{a,b}``, each is meant.
    kind : str
        What they must hold: a key of :data:`KINDS`.
    sample_rate : int
        What their rate must be (Hz).

    Returns
    -------
    dict
        ``train``, ``valid`` and ``test``; shards without samples are left out.

    Raises
    ------
    UserError
        If an index is missing, does not name a shard, or is of other data; if
        there is no shard to train, validate or test on.
    """
    load_webdataset()
    import braceexpand  # comes with it

    try:
        urls = list(braceexpand.braceexpand(str(pattern)))
    except ValueError as error:
        raise UserError(
            f"{pattern} is not a pattern of shards ({error}); write it like "
            f"{kind}-{{000000..000127}}.tar."
        ) from error
    indices: dict[str, dict[str, Shard]] = {}
    found: dict[str, list[Shard]] = {split: [] for split in SPLITS}
    for url in urls:
        if "://" not in url:
            url = os.path.abspath(os.path.expanduser(url))
        address, name = _name_index(url)
        if address not in indices:
            indices[address] = _read_index(address, kind, sample_rate)
        shard = indices[address].get(name)
        if shard is None:
            raise UserError(
                f"{address} does not list {name}; give a pattern of shards "
                "that are there, or finish phasen shard."
            )
        if shard.samples:
            found[shard.split].append(replace(shard, url=url))
    for split, shards in found.items():
        if not shards:
            raise UserError(
                f"{pattern} has no shard of the split {split}; name all "
                f"{len(indices[address])} shards that {address} lists."
            )
    return found


def _name_index(url: str) -> tuple[str, str]:
    """Returns where the index of a shard is, and the shard's name there."""
    match = re.fullmatch(r"(.*)-\d+\.tar", url)
    scheme = url.partition("://")[0]
    if match is None or ("://" in url and scheme not in ("http", "https")):
        raise UserError(
            f"{url} is not the name of a shard; it must be a path, or start "
            "with http:// or https://, and end like -000000.tar."
        )
    return f"{match[1]}.json", re.split(r"[/\\]", url)[-1]


def _read_index(address: str, kind: str, sample_rate: int) -> dict[str, Shard]:
    try:
        index = json.loads(_fetch(address))
        there, rate = index["kind"], index["sample_rate"]
        shards = {
            name: Shard(url=name, **facts)
            for name, facts in index["shards"].items()
        }
    except (OSError, http.client.HTTPException) as error:
        raise UserError(
            f"{address}, the index beside the shards, cannot be read "
            f"({_explain(error)}); check the pattern, or run phasen shard."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{address} is not an index of shards; make it again with phasen "
            "shard."
        ) from error
    if there != kind:
        raise UserError(
            f"The shards of {address} hold {there}, not {kind}; give "
            "pairs as data_folder, speech as clean_folder and noise as "
            "noise_folder."
        )
    if rate != sample_rate:
        raise UserError(
            f"The shards of {address} are at {rate} Hz, but "
            f"sample_rate is {sample_rate}; pack them again with "
            f"--sample-rate {sample_rate}."
        )
    return shards


def read_shard(shard: Shard) -> list[Sample]:
    """Reads a whole shard into memory.

    Raises :class:`BrokenShard` if it cannot be read, or its content is not
    what was packed.
    """
    try:
        content = _fetch(shard.url, shard.is_whole)
    except (OSError, http.client.HTTPException) as error:
        raise BrokenShard(
            f"The shard {shard.url} cannot be used: {_explain(error)}."
        ) from error
    return list(_unpack(shard.url, content))


def _fetch(
    url: str, is_whole: Callable[[bytes], bool] = lambda content: True
) -> bytes:
    """Reads a file; tries again where a server breaks off.

    Raises OSError or HTTPException if it cannot be read, or is not whole.
    """
    attempts = ATTEMPTS if "://" in url else 1
    while True:
        attempts -= 1
        try:
            content = _read(url)
            if is_whole(content):
                return content
            raise OSError("its content is not what was packed")
        except (OSError, http.client.HTTPException) as error:
            status = getattr(error, "code", 500)
            if not attempts or (status < 500 and status not in (408, 429)):
                raise
            logger.warning(f"{url}: {_explain(error)}; trying again.")
        time.sleep(2 ** (ATTEMPTS - 1 - attempts))


def _read(url: str) -> bytes:
    if "://" not in url:
        return Path(url).read_bytes()
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        return answer.read()


def _explain(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return str(reason or error or type(error).__name__)


def _unpack(url: str, content: bytes) -> Iterable[Sample]:
    tariterators = load_webdataset().tariterators
    source = {"url": url, "stream": io.BytesIO(content)}
    try:
        files = tariterators.tar_file_expander([source])
        for sample in tariterators.group_by_keys(files):
            signals, suffix = {}, ""
            for name, data in sample.items():
                if not name.startswith("__"):
                    name, _, suffix = name.partition(".")
                    signals[name] = data
            yield Sample(decode_name(sample["__key__"]), signals, url, suffix)
    except (tarfile.TarError, ValueError) as error:
        raise BrokenShard(
            f"The shard {url} cannot be used: {error.args[0]}."
        ) from error


def encode_name(name: str) -> str:
    """Writes a name without dots and in ASCII, as names within shards are.

    Example
    -------
    >>> encode_name("p232.1 é"), decode_name(encode_name("p232.1 é"))
    ('p232%2E1%20%C3%A9', 'p232.1 é')
    """
    return quote(os.fsencode(name), safe="").replace(".", "%2E")


def decode_name(name: str) -> str:
    """Reverses :func:`encode_name`."""
    return os.fsdecode(unquote_to_bytes(name))
