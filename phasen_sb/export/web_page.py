"""A web page that runs a causal model in the browser.

A folder for any web server: the page, the model as
:func:`phasen_sb.export.step_graph.export_hop_step` writes it, and what of
onnxruntime-web it needs, so that it loads nothing from elsewhere.
"""

import json
import os
import shutil
from pathlib import Path

from phasen_sb.errors import UserError
from phasen_sb.export.step_graph import export_hop_step, read_facts
from phasen_sb.models.enhancer import PhasenEnhancer
from phasen_sb.utils.files import name_partial

FILES = Path(__file__).parent / "web"
#: Of onnxruntime-web.
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")


def find_runtime(node_modules: str | os.PathLike) -> list[Path]:
    """Finds the files of onnxruntime-web, as npm installs them.

    Raises UserError if they are not in the folder ``node_modules``.
    """
    folder = Path(node_modules).expanduser() / "onnxruntime-web" / "dist"
    files = [folder / name for name in RUNTIME]
    for file in files:
        if not file.is_file():
            raise UserError(
                f"The web page needs {file}, which is not there; run npm "
                "install onnxruntime-web, and give --web its node_modules "
                "folder."
            )
    return files


def write_web_page(
    enhancer: PhasenEnhancer,
    folder: str | os.PathLike,
    node_modules: str | os.PathLike = "node_modules",
) -> float:
    """Writes the page of a causal model into a new folder.

    ``node_modules`` is where npm installed onnxruntime-web. Model, result and
    errors are those of :func:`phasen_sb.export.step_graph.export_hop_step`;
    UserError also if files of onnxruntime-web are missing.
    """
    runtime = find_runtime(node_modules)
    part = name_partial(Path(folder))
    try:
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(FILES, part)
        for file in runtime:
            shutil.copy(file, part)
        difference = export_hop_step(enhancer, part / "model.onnx")
        facts = json.dumps(read_facts(part / "model.onnx"), indent=2)
        (part / "model.json").write_text(facts, encoding="utf-8")
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return difference
