"""The demo's page as a process of its own: fixtures."""

import re
import socket
import subprocess
import sys

import pytest
from helpers.small_model import write_small_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_small_model(tmp_path_factory.mktemp("models") / "small_model")


@pytest.fixture(scope="module")
def address(model):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, "-u", "-m", "phasen_sb.cli", "demo"),
            *("--model", model, "--port", str(port), "--no-browser"),
            *("--device", "cpu"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in server.stdout:
        if found := re.search(r"http://\S+", line):
            break
    yield found[0]
    server.terminate()
    server.wait()
