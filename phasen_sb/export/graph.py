"""The network as one graph on real tensors: ONNX and ``torch.export``.

What is exported maps the noisy spectrogram ``[batch, frames, bins, 2]`` (real
and imaginary part, fp32) to the enhanced one of the same shape. STFT, level
normalisation and inverse STFT stay outside: ``examples/enhance_onnx.py`` does
them with NumPy. Batch and frames are dynamic.
"""

import json
import os
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.export._patches import (
    register_gru_while_loop_decomposition,
    register_lstm_while_loop_decomposition,
)

from phasen_sb.errors import UserError
from phasen_sb.export.step_graph import (
    OPSET,
    check_difference,
    export_hop_step,
    import_onnx,
)
from phasen_sb.models.enhancer import PhasenEnhancer

INPUT, OUTPUT = "noisy", "enhanced"
CHECKED_FRAMES = (1, 2, 37, 161, 400)
TRACED_FRAMES = 64


class SpectrogramEnhancer(nn.Module):
    """PHASEN with a single input and a single output."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        """Maps ``[B, T, F, 2]`` to the enhanced ``[B, T, F, 2]``."""
        return self.network(noisy).spectrogram


def export_torch(enhancer: PhasenEnhancer, path: str | os.PathLike) -> float:
    """Writes the network for ``torch.export.load`` and compares it.

    Returns the largest difference from the network over several lengths,
    relative to the output's largest value. Raises UserError if it is more than
    1e-4.
    """
    core, example = _core(enhancer)
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    # Otherwise the recurrence is unrolled to the length of the example.
    with (
        register_lstm_while_loop_decomposition(),
        register_gru_while_loop_decomposition(),
        _quiet(),
    ):
        program = torch.export.export(
            core, (example,), dynamic_shapes=(dynamic,), strict=False
        )
    module = program.module()
    difference = _check(core, lambda x: module(x), "torch.export")
    torch.export.save(program, path)
    return difference


def export_onnx(enhancer: PhasenEnhancer, path: str | os.PathLike) -> float:
    """Writes the network as ONNX and compares it with PyTorch.

    The file's metadata hold sample rate (Hz), window, hop (samples), FFT size
    and level normalisation. The result is that of :func:`export_torch`. Raises
    UserError if a package is missing, or the results differ by more than 1e-4.
    """
    onnx, onnxruntime = import_onnx()
    core, example = _core(enhancer)
    axes = {0: "batch", 1: "frames"}
    with _quiet():
        # The tracing exporter: PyTorch's newer one has no recurrent operator
        # for a dynamic length.
        torch.onnx.export(
            core,
            (example,),
            str(path),
            dynamo=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: axes, OUTPUT: axes},
            opset_version=OPSET,
        )
    model = onnx.load(path)
    onnx.helper.set_model_props(model, _front_end(enhancer))
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )

    def infer(noisy):
        return torch.from_numpy(
            session.run([OUTPUT], {INPUT: noisy.numpy()})[0]
        )

    return _check(core, infer, "ONNX")


def _core(enhancer):
    if not isinstance(enhancer, PhasenEnhancer):
        raise UserError(
            f"The model is a {type(enhancer).__name__}; only a PhasenEnhancer "
            "can be exported as a graph."
        )
    core = SpectrogramEnhancer(enhancer.network).cpu().float().eval()
    for parameter in core.parameters():
        parameter.requires_grad = False
    # Two utterances: a batch of one would become a constant.
    return core, _noise(2, TRACED_FRAMES, enhancer.network.n_bins)


def _noise(batch, frames, bins):
    generator = torch.Generator().manual_seed(frames)
    return torch.randn(batch, frames, bins, 2, generator=generator)


def _front_end(enhancer):
    stft = enhancer.stft
    window = stft.window.tolist()
    return {
        "sample_rate": str(stft.sample_rate),
        "win_length": str(stft.win_length),
        "hop_length": str(stft.hop_length),
        "n_fft": str(stft.n_fft),
        "center": json.dumps(bool(stft.center)),
        "normalize": json.dumps(enhancer.normalize),
        "window": json.dumps([round(value, 9) for value in window]),
    }


def _check(core, infer, kind):
    worst = 0.0
    for frames in CHECKED_FRAMES:
        noisy = _noise(1, frames, core.network.n_bins)
        with torch.inference_mode():
            expected, given = core(noisy), infer(noisy)
        difference = (given - expected).abs().max() / expected.abs().max()
        worst = max(worst, float(difference))
    return check_difference(worst, kind)


@contextmanager
def _quiet():
    """Hides the exporter's warnings, not its errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def export_graphs(
    enhancer: PhasenEnhancer,
    folder: str | os.PathLike,
    onnx: bool = False,
    torch_export: bool = False,
) -> dict[str, float]:
    """Writes ``model.onnx`` and ``model.pt2`` into an exported model.

    The ONNX graph of a causal model is that of
    :func:`phasen_sb.export.step_graph.export_hop_step`. Returns the largest
    difference from PyTorch for the name of each file.
    """
    differences = {}
    causal = getattr(enhancer, "latency", None) is not None
    for wanted, export, name in (
        (onnx, export_hop_step if causal else export_onnx, "model.onnx"),
        (torch_export, export_torch, "model.pt2"),
    ):
        if wanted:
            part = Path(folder) / f".part.{name}"
            try:
                differences[name] = export(enhancer, part)
                os.replace(part, Path(folder) / name)
            finally:
                part.unlink(missing_ok=True)
    return differences
