"""Brings the files of a source onto this machine."""

import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from phasen_sb.errors import UserError

from .table import Source

#: Written last into a source's folder; holds the version that was found.
DONE = ".done"


def obtain(
    source: Source,
    work: Path,
    mirrors: Path | None = None,
    tables: Path | None = None,
) -> tuple[Path, str]:
    """Brings the wanted files of a source into ``work/sources``.

    Nothing is done if they are there. ``mirrors`` has Git directories to use
    in place of the network, named ``owner+name``; ``tables`` is the folder
    that folders in the table are relative to. The folder of the source and
    the version that was found are returned.

    Raises a :class:`phasen_sb.errors.UserError` if the source cannot be had.
    """
    target = work / "sources" / f"{source.name}-{source.digest()}"
    done = target / DONE
    if done.exists():
        return target, done.read_text()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    if source.package:
        version = _unpack_package(source, work / "downloads", target)
    elif source.repository:
        version = _unpack_repository(source, work, mirrors, target)
    else:
        version = _copy_folder(source, tables or Path(), target)
    if not any(target.iterdir()):
        raise UserError(
            f"The source {source.name} has none of the files that the table "
            "of sources names; correct its patterns."
        )
    done.write_text(version)
    return target, version


def _unpack_package(source: Source, downloads: Path, target: Path) -> str:
    package = _download_package(source.package, downloads)
    version = _ask("dpkg-deb", "-f", str(package), "Version").strip()
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                _unpack_members(source, archive, target)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{package} is damaged ({error}); delete it, then run again."
        ) from error
    return version


def _unpack_members(
    source: Source, archive: tarfile.TarFile, target: Path
) -> None:
    for member in archive:
        if not member.isfile():
            continue
        name = member.name.removeprefix("./")
        content = archive.extractfile(member)
        if any(fnmatchcase(name, one) for one in source.zip):
            spooled = target / ".zip"
            with open(spooled, "wb") as file:
                shutil.copyfileobj(content, file)
            _unpack_zip(source, spooled, target)
            spooled.unlink()
        elif source.wants(name):
            _write(target, name, content.read())


def _download_package(name: str, downloads: Path) -> Path:
    downloads.mkdir(parents=True, exist_ok=True)
    there = sorted(downloads.glob(f"{name}_*.deb"))
    if not there:
        # apt-get writes under the final name: into a folder of its own first.
        part = downloads / f".{name}"
        part.mkdir(exist_ok=True)
        options = ["-qq", "-o", "APT::Sandbox::User=root", "download"]
        _ask("apt-get", *options, name, cwd=part)
        (package,) = part.glob("*.deb")
        there = [package.rename(downloads / package.name)]
        part.rmdir()
    return there[-1]


def _unpack_zip(source: Source, path: Path, target: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not name.endswith("/") and source.wants(name):
                _write(target, name, archive.read(name))


def _unpack_repository(
    source: Source, work: Path, mirrors: Path | None, target: Path
) -> str:
    git = _find_repository(source, work, mirrors)
    listing = _ask(
        "git", "ls-tree", "-r", "-z", "--name-only", source.commit, git=git
    )
    wanted = [name for name in listing.split("\0") if source.wants(name)]
    missing = 0
    for name, content in _read_blobs(git, source.commit, wanted):
        if content is None:
            missing += 1
        else:
            _write(target, name, content)
    if missing:
        print(f"{source.name}: {missing} files are not in {git}")
    return source.commit


def _find_repository(source: Source, work: Path, mirrors: Path | None) -> Path:
    """Finds a mirror, or fetches the commit alone."""
    name = "+".join(source.repository.removesuffix(".git").split("/")[-2:])
    if mirrors:
        for git in (
            mirrors / name / "repo/.git",
            mirrors / name / "repo",
            mirrors / name / ".git",
            mirrors / name,
        ):
            if (git / "objects").is_dir():
                return git
    git = work / "downloads" / f"{name}.git"
    fetched = git / f"fetched-{source.commit}"
    if not fetched.exists():
        _ask("git", "init", "-q", "--bare", str(git))
        _ask(
            *("git", "fetch", "-q", "--depth", "1"),
            *(source.repository, source.commit),
            git=git,
        )
        fetched.touch()
    return git


def _read_blobs(
    git: Path, commit: str, names: list[str]
) -> Iterator[tuple[str, bytes | None]]:
    """Reads files of a commit; None for those that the repository lacks."""
    with subprocess.Popen(
        ["git", f"--git-dir={git}", "cat-file", "--batch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        for name in names:
            process.stdin.write(f"{commit}:{name}\n".encode())
            process.stdin.flush()
            head = process.stdout.readline().split()
            if head[-1] == b"missing":
                yield name, None
                continue
            content = process.stdout.read(int(head[-1]))
            process.stdout.read(1)
            yield name, content
        process.stdin.close()


def _copy_folder(source: Source, tables: Path, target: Path) -> str:
    root = (tables / source.folder).resolve()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and source.wants(name):
            _write(target, name, path.read_bytes())
    return source.version


def _write(target: Path, name: str, content: bytes) -> None:
    parts = PurePosixPath(name).parts
    if ".." in parts or name.startswith("/"):
        raise UserError(f"A source has a file {name}, outside of its folder.")
    path = target.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _ask(
    *command: str, git: Path | None = None, cwd: Path | None = None
) -> str:
    """Runs a command and returns what it says."""
    if git:
        command = (command[0], f"--git-dir={git}", *command[1:])
    try:
        result = subprocess.run(
            command, cwd=cwd, check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        raise UserError(
            f"'{' '.join(command)}' failed "
            f"({said.decode(errors='replace').strip()}); see docs/corpora.md "
            "for what is needed."
        ) from error
    return result.stdout.decode(errors="surrogateescape")
