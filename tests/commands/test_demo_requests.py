"""What the demo reads, serves and refuses, whatever a request says."""

import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from helpers.demo import address, model  # noqa: F401
from helpers.small_model import SPEECH

from phasen_sb.errors import UserError

pytest.importorskip("gradio")
gradio_client = pytest.importorskip("gradio_client")

from phasen_sb.commands import demo_page  # noqa: E402

NOISY = SPEECH[0]


def test_an_upload_is_enhanced(address):  # noqa: F811
    client = gradio_client.Client(address, verbose=False)
    recording = gradio_client.handle_file(NOISY)
    enhanced, _, notes = client.predict(recording, 1, api_name="/enhance")
    assert Path(enhanced).stat().st_size > 1000
    assert "real-time factor" in notes


def test_no_file_but_an_upload_is_read(address):  # noqa: F811
    """A request may name any path; Gradio and the page refuse it."""
    path = str(NOISY)
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, 1]
    request = urllib.request.Request(
        f"{address.rstrip('/')}/gradio_api/call/enhance",
        json.dumps({"data": data}).encode(),
        {"Content-Type": "application/json"},
    )
    event = json.load(urllib.request.urlopen(request))["event_id"]
    answer = urllib.request.urlopen(f"{request.full_url}/{event}").read()
    assert b"event: error" in answer and b"enhanced.wav" not in answer
    for file in (path, "/etc/passwd", str(Path.cwd() / "setup.py")):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(
                f"{address.rstrip('/')}/gradio_api/file={file}"
            )


def test_uploads_are_checked(tmp_path, monkeypatch):
    folder = tmp_path / "uploads"
    folder.mkdir()
    inside = Path(shutil.copy(NOISY, folder))
    demo_page.check_upload(inside, folder)
    (folder / "link.flac").symlink_to(NOISY)
    for outside in (NOISY, folder / "link.flac", folder / ".." / "x.flac"):
        with pytest.raises(UserError, match="not an upload"):
            demo_page.check_upload(outside, folder)
    monkeypatch.setattr(demo_page, "MOST_SECONDS", 1)
    with pytest.raises(UserError, match="the page takes 1 s"):
        demo_page.check_upload(inside, folder)
