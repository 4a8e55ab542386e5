"""The weights of a training that goes on, written again and again."""

import io
import shutil
import tarfile
import tempfile
from pathlib import Path

from phasen_sb.export.folder import write_export
from phasen_sb.models.loading import StoredModel, is_export
from phasen_sb.utils.files import unpack_tar, write_atomically

FOLDER = "model"
ARCHIVE = "model.tar.gz"


def write_snapshot(
    model: StoredModel, folder: Path, archive: bool = False
) -> Path:
    """Writes ``model`` into a folder, as an exported model of fp16.

    Or, as an ``archive``, ``model.tar.gz`` with that folder in it: 16.2 MB of
    8.8 million parameters, not 17.6. An earlier snapshot, of either kind, is
    replaced once the new one is complete. Returns what was written; raises
    UserError as :func:`phasen_sb.export.folder.write_export` does.
    """
    if not archive:
        written = write_export(
            model, folder / FOLDER, overwrite=True, half=True
        )
        (folder / ARCHIVE).unlink(missing_ok=True)
        return written
    content = io.BytesIO()
    with tempfile.TemporaryDirectory() as scratch:
        written = write_export(model, Path(scratch, FOLDER), half=True)
        with tarfile.open(fileobj=content, mode="w:gz") as file:
            file.add(written, FOLDER)
    write_atomically(folder / ARCHIVE, content.getvalue())
    if is_export(folder / FOLDER):
        shutil.rmtree(folder / FOLDER)
    return folder / ARCHIVE


def find_snapshot(folder: Path, scratch: Path) -> Path | None:
    """Finds the model that :func:`write_snapshot` wrote; None if there is none.

    An archive is unpacked into the folder ``scratch``.
    """
    archive = folder / ARCHIVE
    if archive.is_file():
        unpack_tar(archive, scratch)
        return scratch / FOLDER
    return folder / FOLDER if is_export(folder / FOLDER) else None
