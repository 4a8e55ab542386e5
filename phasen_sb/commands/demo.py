"""`phasen demo`: enhancement in the browser."""

import argparse

from phasen_sb.errors import UserError

DESCRIPTION = """\
Opens a page where speech can be uploaded or recorded and heard noisy and
enhanced, with spectrograms, the estimated mask and a strength slider. Runs on
this machine alone.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--model",
        metavar="PATH",
        help="what phasen export wrote, the output folder of a training run, "
        "or a model's name on the Hugging Face hub",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="cpu, cuda, ... (default: CUDA if any)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets other machines in (default: "
        "%(default)s)",
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
    from phasen_sb.inference.enhancer import Enhancer

    enhancer = Enhancer.from_pretrained(arguments.model, arguments.device)
    page = make_page(enhancer)
    try:
        page.launch(
            server_name=arguments.host,
            server_port=arguments.port,
            inbrowser=not arguments.no_browser,
            # Fonts of this machine: nothing is fetched.
            theme=gradio.themes.Default(font=["system-ui", "sans-serif"]),
            footer_links=[],
        )
    except OSError as error:
        raise UserError(
            f"Port {arguments.port} of {arguments.host} cannot be used; give "
            "another --port."
        ) from error
