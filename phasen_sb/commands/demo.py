"""`phasen demo`: enhancement in the browser."""

import argparse
import os

from phasen_sb.commands.model_options import add_model
from phasen_sb.errors import UserError

#: Of an upload.
MOST_BYTES = 200 * 2**20

DESCRIPTION = """\
Opens a page where speech can be uploaded or recorded and heard noisy and
enhanced, with spectrograms, the estimated mask and a strength slider. Runs on
this machine alone.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_model(parser, "default")
    parser.add_argument(
        "--device", metavar="NAME", help="cpu, cuda, ... (default: CUDA if any)"
    )
    parser.add_argument(
        "--port", type=int, default=7860, help="default: %(default)s"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="open no browser window"
    )


def run(arguments: argparse.Namespace) -> None:
    """Serves the page until Ctrl-C."""
    try:
        import gradio
    except ImportError as error:
        raise UserError(
            "The demo needs Gradio; install it with pip install "
            "'phasen_sb[demo]'."
        ) from error
    # Here, so that --help does not import PyTorch.
    from phasen_sb.commands.demo_page import make_page
    from phasen_sb.inference.speechbrain_enhancer import Enhancer

    enhancer = Enhancer.from_pretrained(
        arguments.model, arguments.device, trust=arguments.trust
    )
    page = make_page(enhancer)
    # No file is served but uploads and what is made of them.
    os.environ.pop("GRADIO_ALLOWED_PATHS", None)
    try:
        page.launch(
            # Other machines get in by a tunnel that the user makes.
            server_name="127.0.0.1",
            server_port=arguments.port,
            share=False,
            mcp_server=False,
            max_file_size=MOST_BYTES,
            inbrowser=not arguments.no_browser,
            # Fonts of this machine: nothing is fetched.
            theme=gradio.themes.Default(font=["system-ui", "sans-serif"]),
            footer_links=[],
        )
    except OSError as error:
        raise UserError(
            f"Port {arguments.port} cannot be used; give another --port."
        ) from error
