"""What computes a causal network frame by frame.

Engines have one method, ``process``: it takes the next frames ``[B, T, F, 2]``
of a batch of streams and returns as many enhanced ones, the network's
``lookahead_frames`` behind; and ``reset``, after which streams begin.
"""

import importlib.util

import torch

from phasen_sb.errors import UserError, choose
from phasen_sb.export.step_graph import (
    NOISY,
    STATE,
    VectorStep,
    start_session,
    trace_step,
)
from phasen_sb.network.frame_step import FrameStep
from phasen_sb.network.phasen import PHASEN

#: By their names.
ENGINES = ("onnxruntime", "pytorch")


class PyTorchEngine:
    """The network's modules, on any device."""

    def __init__(self, network: PHASEN):
        self._network = network
        self.reset()

    def reset(self) -> None:
        """Lets streams begin."""
        self._states = None

    def process(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Enhances the next frames ``[B, T, F, 2]``."""
        output, self._states = self._network.step(spectrogram, self._states)
        return output.spectrogram


class OnnxEngine:
    """A graph that ONNX Runtime computes on a CPU with one thread, in fp32.

    A block of one frame takes a quarter of the modules' time. Frames and
    streams are computed one after the other. Weights are copied.
    """

    def __init__(self, network: PHASEN):
        step = VectorStep(FrameStep(network))
        self._first_state = step.first_state().numpy()
        frame = torch.zeros(1, network.n_bins, 2)
        self._session = start_session(trace_step(step, frame))
        self.reset()

    def reset(self) -> None:
        """Lets streams begin."""
        self._states = None

    def process(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Enhances the next frames ``[B, T, F, 2]``."""
        if self._states is None:
            self._states = [self._first_state] * len(spectrogram)
        enhanced = torch.empty_like(spectrogram, device="cpu")
        frames = spectrogram.float().cpu().numpy()
        for stream, state in enumerate(self._states):
            for i, frame in enumerate(frames[stream, :, None]):
                out, state = self._session.run(
                    None, {NOISY: frame, STATE: state}
                )
                enhanced[stream, i] = torch.from_numpy(out[0])
            self._states[stream] = state
        return enhanced.to(spectrogram.device)


def make_engine(
    network: PHASEN, name: str | None = None
) -> PyTorchEngine | OnnxEngine:
    """Makes an engine for a causal network in evaluation mode.

    By default it is ``onnxruntime`` where its packages are installed and the
    network is on a CPU, in fp32, and otherwise ``pytorch``. Subclasses
    of PHASEN may compute something else than the graph, and only have
    ``pytorch``. Raises UserError if ``name`` is not possible, or packages are
    missing.

    Example
    -------
    >>> sizes = {"n_fft": 32, "recurrent_units": 8, "phase_norm": "frame"}
    >>> network = PHASEN(**sizes, causal=True).eval()
    >>> engine = make_engine(network, "pytorch")
    >>> engine.process(torch.randn(2, 3, 17, 2)).shape
    torch.Size([2, 3, 17, 2])
    """
    missing = [
        package
        for package in ("onnx", "onnxruntime")
        if importlib.util.find_spec(package) is None
    ]
    is_plain = type(network) is PHASEN
    if name is None:
        weight = next(network.parameters())
        suits = weight.device.type == "cpu" and weight.dtype == torch.float32
        suits = suits and is_plain and not missing
        name = "onnxruntime" if suits else "pytorch"
    choose("engine", name, ENGINES)
    if name == "pytorch":
        return PyTorchEngine(network)
    if not is_plain:
        raise UserError(
            "The engine onnxruntime takes a PHASEN, not the "
            f"{type(network).__name__} of this model; choose pytorch."
        )
    if missing:
        raise UserError(
            f"The engine onnxruntime needs the package {missing[0]}; install "
            "it with pip install 'phasen_sb[onnx]'."
        )
    return OnnxEngine(network)
