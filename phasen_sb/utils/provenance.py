"""What a reader needs to trust a number: versions, command, commit."""

import platform
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "phasen_sb",
    "speechbrain",
    "torch",
    "torchaudio",
    "pesq",
    "pystoi",
    "numpy",
)


def provenance() -> dict:
    """What a reader needs to trust a number: versions, command, commit."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "versions": versions,
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "commit": _commit(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _commit():
    if shutil.which("git") is None:
        return None
    here = Path(__file__)

    def git(*arguments):
        return subprocess.run(
            ["git", *arguments],
            cwd=here.parent,
            capture_output=True,
            text=True,
            check=False,
        )

    # An environment may lie within somebody else's repository.
    if git("ls-files", "--error-unmatch", here.name).returncode != 0:
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40").stdout.strip()
