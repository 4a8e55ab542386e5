"""The download, from a real server that cuts connections."""

import contextlib
import hashlib
import http.server
import re
import resource
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest
import soundfile as sf

from phasen_sb.data import (
    download as module,
    download_voicebank,
    prepare_voicebank,
    sample_corpus,
)
from phasen_sb.data.download import ARCHIVES, Archive
from phasen_sb.errors import UserError


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.files``, with Range, and faults on request."""

    def do_GET(self):
        server = self.server
        name = self.path.rpartition("/")[2]
        asked = self.headers.get("Range")
        server.requests.append((name, asked))
        if name not in server.files:
            self.send_error(404)
            return
        content = server.files[name]
        start = 0
        if asked and server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
        self.send_response(206 if asked and server.ranges else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Content-Type", server.content_type)
        if asked and server.ranges:
            last = len(content) - 1
            self.send_header(
                "Content-Range", f"bytes {start}-{last}/{len(content)}"
            )
        self.end_headers()
        end = len(content)
        if server.cuts.get(name, 0):
            server.cuts[name] -= 1
            end = start + (end - start) // 2
        with contextlib.suppress(ConnectionError):  # the client has seen enough
            self.wfile.write(content[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Archives of the official names with the sample corpus in them."""
    folder = tmp_path_factory.mktemp("archives")
    files = {}
    for name in ARCHIVES:
        stem = name.removesuffix(".zip")
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(f"__MACOSX/{stem}/._p232_001.wav", b"note")
            for path in sorted((sample_corpus() / f"{stem}_16k").iterdir())[:6]:
                samples, _ = sf.read(path, dtype="int16")
                wav = folder / "take.wav"
                sf.write(wav, np.repeat(samples, 3), 48000)
                archive.write(wav, f"{stem}/{path.stem}.wav")
        files[name] = (folder / name).read_bytes()
    return files


@pytest.fixture
def server(archives):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files = dict(archives)
        server.requests, server.cuts = [], {}
        server.ranges, server.content_type = True, "application/zip"
        server.url = f"http://127.0.0.1:{server.server_port}/mirror"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def download(server, archives):
    published = {
        name: Archive("-", hashlib.md5(content).hexdigest(), len(content))
        for name, content in archives.items()
    }

    def call(destination, **options):
        options = {"archives": published, "wait": 0.0, **options}
        return download_voicebank(destination, server.url, **options)

    return call


def test_cut_connection_is_resumed_and_data_prepared(
    server, download, archives, tmp_path
):
    name = "noisy_trainset_28spk_wav.zip"
    server.cuts = {name: 2}
    folder = download(tmp_path / "VoiceBank")
    asked = [part for requested, part in server.requests if requested == name]
    half = len(archives[name]) // 2
    assert asked[:2] == [None, f"bytes={half}-"] and len(asked) == 3
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        name.removesuffix(".zip") for name in ARCHIVES
    )
    assert not list(folder.rglob("._*"))  # what macOS leaves in archives
    record = prepare_voicebank(folder, tmp_path / "save")
    counts = [record["splits"][s]["files"] for s in ("train", "valid", "test")]
    assert counts == [2, 4, 6]

    server.requests.clear()
    download(folder)
    assert server.requests == []


def test_later_call_goes_on(server, download, archives, tmp_path):
    """As after a kill: what had arrived is kept and not asked for again."""
    name = next(iter(archives))
    part = tmp_path / f"{name}.part"
    part.write_bytes(archives[name][:1000])
    download(tmp_path)
    assert server.requests[0] == (name, "bytes=1000-")
    assert not part.exists()


@pytest.mark.parametrize("size_known", [True, False])
def test_complete_part_is_not_fetched_again(
    server, download, archives, tmp_path, size_known
):
    name, content = next(iter(archives.items()))
    (tmp_path / f"{name}.part").write_bytes(content)
    size = len(content) if size_known else None
    md5 = hashlib.md5(content).hexdigest()
    download(tmp_path, archives={name: Archive("-", md5, size)})
    expected = [] if size_known else [(name, f"bytes={len(content)}-")]
    assert server.requests == expected


def test_part_of_another_file_is_dropped(server, download, archives, tmp_path):
    name, content = next(iter(archives.items()))
    (tmp_path / f"{name}.part").write_bytes(content + b"more")
    archive = Archive("-", hashlib.md5(content).hexdigest())
    download(tmp_path, archives={name: archive})
    assert server.requests[-1] == (name, None)
    assert (tmp_path / name.removesuffix(".zip")).is_dir()


def test_server_without_ranges_starts_over(server, download, tmp_path):
    server.ranges = False
    server.cuts = {"clean_testset_wav.zip": 1}
    folder = download(tmp_path)
    assert len(list(folder.glob("clean_testset_wav/*.wav"))) == 6


def test_wrong_checksum(server, download, archives, tmp_path):
    name = "clean_testset_wav.zip"
    content = bytearray(archives[name])
    content[5000] ^= 1
    server.files[name] = bytes(content)
    with pytest.raises(UserError, match=f"{name} .*has MD5 .*was published.*"):
        download(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.bad"]
    server.files[name] = archives[name]
    download(tmp_path)


def test_wrong_size(server, download, archives, tmp_path):
    server.files["clean_testset_wav.zip"] += b"more"
    size = len(archives["clean_testset_wav.zip"])
    with pytest.raises(UserError, match=f"{size + 4} bytes, but {size} were"):
        download(tmp_path)


def test_missing_file_and_web_page(server, download, tmp_path):
    server.content_type = "text/html"
    with pytest.raises(UserError, match="is a web page, not an archive"):
        download(tmp_path)
    server.files.clear()
    with pytest.raises(
        UserError, match="answers 404 Not Found; check base_url"
    ):
        download(tmp_path)
    assert len(server.requests) == 2  # a missing file is not asked for again


def test_no_connection(download, server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match="no connection .*run again, or fetch"):
        download(tmp_path)


def test_endlessly_broken_connection_gives_up(server, download, tmp_path):
    server.ranges = False
    server.cuts = {"clean_testset_wav.zip": 1000}
    with pytest.raises(UserError, match="the connection broke at .* of .* B"):
        download(tmp_path)
    assert len(server.requests) == module.ATTEMPTS + 1


def test_disk_that_fills_up(download, archives, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = max(map(len, archives.values())) // 2
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(UserError, match="be written: File too.* goes on"):
            download(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    download(tmp_path)  # and the download goes on


def test_no_archive(server, download, tmp_path):
    name, content = "clean_testset_wav.zip", b"no archive" * 100
    server.files[name] = content
    archive = Archive("-", hashlib.md5(content).hexdigest())
    with pytest.raises(UserError, match=f"{name} cannot be unpacked: File is"):
        download(tmp_path, archives={name: archive})
    assert not (tmp_path / "clean_testset_wav").exists()


def test_too_little_room(server, download, tmp_path, monkeypatch):
    usage = module.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match="has 0.00 GB free, but .* make room"):
        download(tmp_path)


def test_command_line(server, tmp_path):
    """The official checksums hold there, so the sample's archives fail."""
    command = [sys.executable, "-m", "phasen_sb.data.download"]
    done = subprocess.run(
        [*command, str(tmp_path), "--base_url", server.url],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    md5 = ARCHIVES["clean_testset_wav.zip"].md5
    assert f"but {md5} was published" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
