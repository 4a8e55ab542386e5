"""`phasen export`: a training run as a folder that loads anywhere."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from phasen_sb.commands.model_options import add_trust
from phasen_sb.errors import UserError

if TYPE_CHECKING:
    from phasen_sb.models.loading import StoredModel

DESCRIPTION = """\
Writes the best checkpoint of a training run as a folder that SpeechBrain's
WaveformEnhancement.from_hparams, phasen enhance and phasen demo load without a
network connection: hyperparams.yaml, model.ckpt, README.md (the model card) and
results.json. It can be uploaded to a model hub as it is.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "results",
        metavar="RESULTS_DIR",
        help="output folder of recipes/train.py, or a model exported earlier",
    )
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="write model.onnx too, checked against PyTorch: the network from "
        "spectrogram to spectrogram or, of a causal model, the next enhanced "
        "samples from the next noisy ones (needs phasen_sb[onnx])",
    )
    parser.add_argument(
        "--torch-export",
        action="store_true",
        help="write model.pt2 too: the same for torch.export.load",
    )
    parser.add_argument(
        "--web",
        nargs="?",
        const="node_modules",
        metavar="NODE_MODULES",
        help="write OUT_DIR/web too, of a causal model: a page that runs it in "
        "the browser, with onnxruntime-web as npm installed it (default: in "
        "%(const)s)",
    )
    add_trust(parser)
    add_output_arguments(parser, licence="apache-2.0")


def add_output_arguments(parser: argparse.ArgumentParser, licence: str) -> None:
    """Declares the options of every command that writes a model.

    ``licence`` is the default for the licence of its weights.
    """
    parser.add_argument("out", metavar="OUT_DIR", help="folder to write")
    parser.add_argument(
        "--license",
        default=licence,
        metavar="ID",
        help="licence of the weights in the model card (default: %(default)s)",
    )
    parser.add_argument(
        "--half",
        action="store_true",
        help="write the weights as fp16: half as large",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace an exported model in OUT_DIR",
    )


def run(arguments: argparse.Namespace) -> None:
    """Exports the model and says what was written."""
    # Functions import what needs PyTorch, so that --help is quick.
    from phasen_sb.models.loading import read_model

    if arguments.web:
        from phasen_sb.export.web_page import find_runtime

        find_runtime(arguments.web)

    def read():
        model = read_model(arguments.results, arguments.trust)
        if arguments.web and getattr(model.build(), "latency", None) is None:
            raise UserError(
                f"{arguments.results} is not a causal model, which --web "
                "needs; train one with hparams/phasen_live.yaml."
            )
        return model

    folder = write_model(arguments, read)
    if arguments.onnx or arguments.torch_export or arguments.web:
        _write_graphs(arguments, folder)


def _write_graphs(arguments, folder):
    from phasen_sb.export.graph import export_graphs
    from phasen_sb.models.loading import read_model

    enhancer = read_model(folder, arguments.trust).build()
    differences = export_graphs(
        enhancer, folder, arguments.onnx, arguments.torch_export
    )
    if arguments.web:
        from phasen_sb.export.web_page import write_web_page

        differences["web"] = write_web_page(
            enhancer, folder / "web", arguments.web
        )
    for name, difference in differences.items():
        print(
            f"Wrote {folder / name}; it agrees with PyTorch to "
            f"{difference:.0e} of the largest value."
        )
    if arguments.web:
        print(
            f"Serve the page with: python -m http.server -d {folder / 'web'} "
            "and open http://localhost:8000"
        )


def write_model(
    arguments: argparse.Namespace, read: Callable[[], "StoredModel"]
) -> Path:
    """Writes a model into OUT_DIR and says so.

    ``read`` may take long; it is called once OUT_DIR is known to be free.
    """
    from phasen_sb.export.folder import check_target, write_export

    check_target(arguments.out, arguments.overwrite)
    folder = write_export(
        read(),
        arguments.out,
        arguments.license,
        arguments.overwrite,
        arguments.half,
    )
    print(f"Wrote {folder}; use it with: phasen enhance --model {folder} FILE")
    return folder
