"""Downloads VoiceBank-DEMAND: ``python -m phasen_sb.data.download FOLDER``.

Reference: C. Valentini-Botinhao, "Noisy speech database for training speech
enhancement algorithms and TTS models", 2017, https://doi.org/10.7488/ds/2117
"""

import argparse
import errno
import hashlib
import http.client
import os
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from phasen_sb.errors import UserError
from phasen_sb.utils.files import remove_partial

SERVER = "https://datashare.ed.ac.uk/server/api/core/bitstreams"
RECORD_PAGE = "https://datashare.ed.ac.uk/handle/10283/2791"
CHUNK = 1 << 20
TIMEOUT = 60  # seconds without a byte
ATTEMPTS = 5  # in a row without progress


@dataclass(frozen=True)
class Archive:
    """One file of the DataShare record."""

    bitstream: str  # its identifier on the server
    md5: str  # as the record publishes it
    size: int | None = None  # bytes, where known exactly; else as served


ARCHIVES = {
    "clean_testset_wav.zip": Archive(
        "dec213d3-bf57-4777-9663-c24bdce92d5e",
        "34eb1c0ba7ef667e9b966866c542fc16",
    ),
    "noisy_testset_wav.zip": Archive(
        "13c1bfbf-14a6-41db-9b41-8f7310f01ad5",
        "fb1b86caa31e8ba5b506c0c64da9aab5",
    ),
    "clean_trainset_28spk_wav.zip": Archive(
        "245452b6-6235-44b6-a6f9-e7eb19797769",
        "d2d5a45ec32f8fcbf201bde0447e20ba",
        2486057279,
    ),
    "noisy_trainset_28spk_wav.zip": Archive(
        "ecb5a102-bb00-46d3-8af5-40c79823b837",
        "1fca9e8bafb8cd069f6653c6d92f9e9c",
        2830205201,
    ),
}


class _Interrupted(Exception):
    """A broken connection; another attempt may succeed."""


def download_voicebank(
    destination: str | Path,
    base_url: str | None = None,
    archives: Mapping[str, Archive] = ARCHIVES,
    wait: float = 2.0,
) -> Path:
    """Downloads, checks and unpacks VoiceBank-DEMAND at 48 kHz.

    Four archives of 5.6 GB in all become four folders of 6.5 GB; meanwhile an
    archive of up to 2.8 GB needs room, too. An interrupted download continues
    where it stopped, now or in a later call, and what is unpacked already is
    kept. The filled folder, ``destination``, is returned; it is then the
    ``data_folder`` of :func:`phasen_sb.data.voicebank.prepare_voicebank`.

    The MD5 checksums are those of the DataShare record, as listed by several
    public projects that verify them; the two sizes also come from public
    sources. They were not compared with the server itself.

    ``base_url`` is a mirror that has the archives as
    ``base_url/clean_testset_wav.zip`` and so on; by default they come from
    Edinburgh DataShare. ``archives``, from file name to :class:`Archive`, are
    for a mirror with other files. ``wait`` is the number of seconds before the
    first retry after a broken connection; it is doubled each time.

    Raises a :class:`phasen_sb.errors.UserError` if there is no connection, the
    server lacks a file, size or checksum is wrong, or the disk is full.
    """
    destination = Path(destination).expanduser().absolute()
    try:
        destination.mkdir(parents=True, exist_ok=True)
        for name, archive in archives.items():
            folder = destination / name.removesuffix(".zip")
            if folder.is_dir():
                continue
            url = (
                f"{base_url.rstrip('/')}/{name}"
                if base_url
                else f"{SERVER}/{archive.bitstream}/content"
            )
            path = destination / name
            if not path.exists():
                _download(url, path, archive.size, wait)
            _verify(path, archive)
            _unpack(path, folder)
            path.unlink()
    except OSError as error:
        fix = "make room" if error.errno == errno.ENOSPC else "fix that"
        raise UserError(
            f"{destination} cannot be written: {error.strerror or error}; "
            f"{fix} and run again, and the download goes on."
        ) from error
    return destination


def _download(url: str, path: Path, size: int | None, wait: float) -> None:
    """Fetches one file, with as many connections as it takes."""
    part = path.with_name(f"{path.name}.part")
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _fetch_rest(url, part, size)
            break
        except _Interrupted as error:
            after = part.stat().st_size if part.exists() else 0
            failures = 0 if after > before else failures + 1
            if failures == ATTEMPTS:
                raise UserError(
                    f"{url} cannot be downloaded: {error}; check the network "
                    f"and run again, or fetch {path.name} by hand from "
                    f"{RECORD_PAGE} into {path.parent}."
                ) from None
            time.sleep(wait * 2**failures)
    os.replace(part, path)


def _fetch_rest(url: str, part: Path, size: int | None) -> None:
    """Appends what is missing from a partial file, over one connection."""
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have == size:
        return
    request = urllib.request.Request(url)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            _receive(answer, url, part, have, size)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the partial file is complete, or too long
            total = error.headers.get("Content-Range", "").rpartition("/")[2]
            if total == str(have):
                return
            remove_partial(part)
            raise _Interrupted(f"{part.name} was not a part of it") from None
        if error.code in (408, 429) or error.code >= 500:
            raise _Interrupted(f"status {error.code} {error.reason}") from None
        raise UserError(
            f"{url} cannot be downloaded: the server answers {error.code} "
            f"{error.reason}; check base_url, or fetch it by hand from "
            f"{RECORD_PAGE}."
        ) from None
    except urllib.error.URLError as error:
        raise _Interrupted(f"no connection ({error.reason})") from None
    except (
        TimeoutError,
        ConnectionError,
        ssl.SSLError,
        http.client.HTTPException,
    ) as error:
        raise _Interrupted(f"the connection broke ({error!r})") from None
    except ValueError as error:
        raise UserError(f"{url} is not an address: {error}.") from None


def _receive(
    answer: http.client.HTTPResponse,
    url: str,
    part: Path,
    have: int,
    size: int | None,
) -> None:
    if answer.headers.get_content_type() == "text/html":
        raise UserError(
            f"{url} is a web page, not an archive; fetch it by hand from "
            f"{RECORD_PAGE}."
        )
    resumed = answer.status == 206
    if resumed:
        first = answer.headers.get("Content-Range", "").removeprefix("bytes ")
        if not first.startswith(f"{have}-"):
            remove_partial(part)
            raise _Interrupted("the server sent another part than requested")
    start = have if resumed else 0
    length = answer.headers.get("Content-Length")
    total = None if length is None else start + int(length)
    if size is not None and total is not None and total != size:
        remove_partial(part)
        raise UserError(
            f"{url} has {total} bytes, but {size} were published; it is "
            "another file, so check base_url."
        )
    if total is not None:
        _check_room(part.parent, total - start, url)
    with (
        open(part, "ab" if resumed else "wb") as file,
        tqdm(
            total=total,
            initial=start,
            desc=part.name.removesuffix(".part"),
            unit="B",
            unit_scale=True,
            disable=None,
        ) as bar,
    ):
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
    arrived = part.stat().st_size
    if total is not None and arrived < total:
        raise _Interrupted(f"the connection broke at {arrived} of {total} B")


def _check_room(folder: Path, needed: int, url: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} has {free / 1e9:.2f} GB free, but {url} needs "
            f"{needed / 1e9:.2f} GB more; make room and run again."
        )


def _verify(path: Path, archive: Archive) -> None:
    """Compares a finished file with what was published."""
    digest = hashlib.md5()
    with (
        open(path, "rb") as file,
        tqdm(
            total=path.stat().st_size,
            desc=f"Checking {path.name}",
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,
        ) as bar,
    ):
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() == archive.md5:
        return
    size = path.stat().st_size
    aside = path.with_name(f"{path.name}.bad")
    os.replace(path, aside)
    raise UserError(
        f"{path.name} ({size} bytes) has MD5 {digest.hexdigest()}, but "
        f"{archive.md5} was published: it was damaged or changed on the way; "
        f"it is kept as {aside}, run again to download it again."
    )


def _unpack(path: Path, folder: Path) -> None:
    """Unpacks the audio of an archive to a folder, all of it or nothing."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                member
                for member in archive.infolist()
                if Path(member.filename).suffix.lower() in (".wav", ".flac")
                # macOS adds a file of metadata to each file.
                and not Path(member.filename).name.startswith(".")
            ]
            if not members:
                raise UserError(f"{path} has no audio files in it; remove it.")
            part.mkdir()
            for member in tqdm(
                members,
                desc=f"Unpacking {path.name}",
                unit="file",
                leave=False,
                disable=None,
            ):
                target = part / Path(member.filename).name
                with archive.open(member) as source, open(target, "wb") as copy:
                    shutil.copyfileobj(source, copy, CHUNK)
        os.replace(part, folder)
    except zipfile.BadZipFile as error:
        raise UserError(
            f"{path} cannot be unpacked: {error}; remove it and run again."
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m phasen_sb.data.download",
        description="Downloads VoiceBank-DEMAND (5.6 GB, resumable).",
    )
    parser.add_argument("destination", help="folder to fill")
    parser.add_argument(
        "--base_url", help="mirror that has the four archives by their names"
    )
    options = parser.parse_args(arguments)
    try:
        folder = download_voicebank(options.destination, options.base_url)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; run again and the download goes on.", file=sys.stderr)
        return 130
    print(f"VoiceBank-DEMAND is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
