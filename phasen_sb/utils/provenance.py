"""Where a number comes from: versions, command, commit, machine."""

import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from phasen_sb.utils.version import VERSION

#: What trainings and benchmarks depend on.
PACKAGES = ("speechbrain", "torch", "torchaudio", "pesq", "pystoi", "numpy")


def find_versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Finds the versions of ``phasen_sb`` and of other packages, by name.

    The version is None where a package is not installed.
    """
    versions: dict[str, str | None] = {"phasen_sb": VERSION}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def provenance() -> dict[str, Any]:
    """Describes this process, so that a reader can repeat what it measured.

    The result is ready for JSON: ``versions`` of Python and of packages, the
    ``command`` line, the git ``commit`` of the code (None outside its
    repository) and the ``machine``.
    """
    versions = {"python": platform.python_version()} | find_versions(PACKAGES)
    return {
        "versions": versions,
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "commit": _commit(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _commit() -> str | None:
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

    # An installed package may lie within somebody else's repository.
    if git("ls-files", "--error-unmatch", here.name).returncode != 0:
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40").stdout.strip()
