"""Compiling: the same numbers, and not for every shape anew."""

import pytest
import torch

from phasen_sb import PHASEN
from phasen_sb.compilation import compile_network
from phasen_sb.errors import UserError

SIZES = {
    "n_fft": 64,
    "amplitude_channels": 4,
    "phase_channels": 2,
    "blocks": 1,
    "recurrent_units": 8,
    "dense_units": 16,
}


def gradients(network, spectrogram, lengths=None):
    network.zero_grad()
    network(spectrogram, lengths).spectrogram.square().sum().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters()])


def test_whole_batches_of_one_shape_are_compiled():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.manual_seed(0)
    plain = PHASEN(**SIZES).train()
    network = PHASEN(**SIZES).train()
    network.load_state_dict(plain.state_dict())
    compile_network(network, backend=backend)
    assert network.state_dict().keys() == plain.state_dict().keys()
    lengths = torch.tensor([1.0, 0.5, 0.3])
    counts = []
    for batch, frames, padding in (
        (3, 20, lengths),
        (3, 20, None),
        (3, 20, None),
        (3, 20, lengths),
        (2, 20, None),
        (3, 12, lengths),
    ):
        x = torch.randn(batch, frames, 33, 2)
        expected = gradients(plain, x, padding)
        found = gradients(network, x, padding)
        assert (found - expected).norm() < 1e-4 * expected.norm()
        counts.append(len(graphs))
    assert counts[0] == 0 < counts[1]
    assert set(counts[1:]) == {counts[1]}


def test_the_real_compiler_keeps_the_numbers():
    torch.manual_seed(0)
    sizes = SIZES | {"two_streams": False}  # half of the minute it takes
    plain = PHASEN(**sizes).train()
    network = PHASEN(**sizes).train()
    network.load_state_dict(plain.state_dict())
    try:
        compile_network(network, activation_memory_budget=0.5)
    except UserError as error:
        pytest.skip(str(error))
    x = torch.randn(3, 20, 33, 2)
    expected, found = gradients(plain, x), gradients(network, x)
    assert (found - expected).norm() < 1e-4 * expected.norm()


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="C\\+\\+ compiler no-such-compiler;"):
        compile_network(PHASEN(**SIZES))
