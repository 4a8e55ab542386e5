"""Steps of a causal model as ONNX graphs: states in, states out.

A graph has two inputs, what is to be enhanced and ``state``, and two outputs,
``enhanced`` and ``next_state``. The state is one vector of fp32, zero when a
signal begins; each step is given that of the step before.
"""

import io
import json
import os
import warnings
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import nn

from phasen_sb.errors import UserError
from phasen_sb.models.enhancer import PhasenEnhancer
from phasen_sb.models.hop_step import HopStep

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: ONNX operator set: the highest that PyTorch's tracing exporter knows.
OPSET = 17
#: Names of the inputs and outputs.
NOISY, STATE, ENHANCED, NEXT_STATE = "noisy", "state", "enhanced", "next_state"
TOLERANCE = 1e-4
CHECKED_HOPS = 60


class VectorStep(nn.Module):
    """A step whose list of states is one vector.

    Arguments
    ---------
    step : torch.nn.Module
        Maps an input and a list of states to an output and the next states,
        and has ``first_states()``. No state is empty: ONNX Runtime would crash.

    Example
    -------
    >>> from phasen_sb import PHASEN
    >>> from phasen_sb.network.frame_step import FrameStep
    >>> sizes = {"n_fft": 32, "recurrent_units": 8, "phase_norm": "frame"}
    >>> step = VectorStep(FrameStep(PHASEN(**sizes, causal=True)))
    >>> enhanced, state = step(torch.randn(1, 17, 2), step.first_state())
    >>> enhanced.shape, state.dim()
    (torch.Size([1, 17, 2]), 1)
    """

    def __init__(self, step: nn.Module):
        super().__init__()
        self.step = step
        self.shapes = [state.shape for state in step.first_states()]

    def first_state(self) -> torch.Tensor:
        """Returns the state when a signal begins: zeros."""
        return torch.zeros(sum(shape.numel() for shape in self.shapes))

    def forward(
        self, noisy: torch.Tensor, state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Makes a step; ``state`` is ``[values]``."""
        parts = state.split([shape.numel() for shape in self.shapes])
        states = [
            part.view(shape)
            for part, shape in zip(parts, self.shapes, strict=True)
        ]
        enhanced, states = self.step(noisy, states)
        return enhanced, torch.cat([state.flatten() for state in states])


def trace_step(step: VectorStep, noisy: torch.Tensor) -> bytes:
    """Writes a step as an ONNX graph; ``noisy`` is an input of its shape."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        # Of the tracing exporter: shapes are constant, as they should be.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            step,
            (noisy, step.first_state()),
            file,
            dynamo=False,
            input_names=[NOISY, STATE],
            output_names=[ENHANCED, NEXT_STATE],
            opset_version=OPSET,
        )
    return file.getvalue()


def start_session(graph: bytes | os.PathLike | str) -> "InferenceSession":
    """Starts ONNX Runtime on a CPU, with one thread.

    More would wait for each other: a step's operations are too short.
    """
    import onnxruntime  # an extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        graph, options, providers=["CPUExecutionProvider"]
    )


def export_hop_step(enhancer: PhasenEnhancer, path: str | os.PathLike) -> float:
    """Writes a causal model as ONNX, from a hop of samples to the next one.

    The file's metadata hold ``sample_rate`` (Hz), ``hop_length`` (samples of
    ``noisy`` and ``enhanced``), ``delay`` (samples by which what comes out is
    late), ``latency_ms`` (that and the hop, while it is recorded) and
    ``state_length`` (values of ``state``).

    Arguments
    ---------
    enhancer : PhasenEnhancer
        A causal model, on a CPU.
    path : path
        The file to write.

    Returns
    -------
    float
        The largest difference from the model for a whole signal, relative to
        its largest value.

    Raises
    ------
    phasen_sb.errors.UserError
        If the model is not causal, a package is missing, or that difference
        is more than 1e-4.
    """
    onnx, _ = import_onnx()
    hop_step = HopStep(enhancer)
    hop = hop_step.hop_length
    step = VectorStep(hop_step)
    model = onnx.load_from_string(trace_step(step, torch.zeros(hop)))
    facts = {
        "sample_rate": enhancer.stft.sample_rate,
        "hop_length": hop,
        "delay": hop_step.delay,
        "latency_ms": enhancer.latency,
        "state_length": len(step.first_state()),
    }
    onnx.helper.set_model_props(
        model, {name: str(value) for name, value in facts.items()}
    )
    onnx.save(model, path)
    return _check(enhancer, hop_step, path)


def read_facts(path: str | os.PathLike) -> dict[str, int | float]:
    """Reads the metadata of a graph that :func:`export_hop_step` wrote."""
    meta = start_session(str(path)).get_modelmeta().custom_metadata_map
    return {name: json.loads(value) for name, value in meta.items()}


def import_onnx() -> tuple[ModuleType, ModuleType]:
    """Imports onnx and onnxruntime; UserError if one is missing."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"The ONNX export needs the package {error.name}; install it with "
            "pip install 'phasen_sb[onnx]'."
        ) from error
    return onnx, onnxruntime


def check_difference(difference: float, kind: str) -> float:
    """Returns a graph's difference from PyTorch; UserError if it is large."""
    if not difference < TOLERANCE:
        raise UserError(
            f"The {kind} graph differs from PyTorch by {difference:.1e}, more "
            f"than {TOLERANCE:g}; report this with the model's "
            "hyperparams.yaml."
        )
    return difference


def _check(enhancer, step, path):
    session = start_session(str(path))
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(CHECKED_HOPS * step.hop_length, generator=generator)
    state = VectorStep(step).first_state().numpy()
    hops = []
    for hop in noisy.split(step.hop_length):
        enhanced, state = session.run(None, {NOISY: hop.numpy(), STATE: state})
        hops.append(torch.from_numpy(enhanced))
    given = torch.cat(hops)[step.delay :]
    with torch.inference_mode():
        # What comes later does not matter: the model is causal.
        expected = enhancer(noisy[None])[0][0, : len(given)]
    difference = (given - expected).abs().max() / expected.abs().max()
    return check_difference(float(difference), "ONNX")
