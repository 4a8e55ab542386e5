"""Compiling: the same numbers, and not for every shape anew."""

import copy

import pytest
import torch
from helpers.signals import noise
from torch._functorch import config as autograd_config

from phasen_sb import (
    PHASEN,
    ConvSTFT,
    Objective,
    compressed_complex_loss,
    log_spectral_loss,
    pesq_loss,
    si_snr_loss,
)
from phasen_sb.errors import UserError
from phasen_sb.training.compilation import compile_network, compile_objective
from phasen_sb.utils.hardware import check_compiler

SIZES = {
    "n_fft": 64,
    "amplitude_channels": 4,
    "phase_channels": 2,
    "blocks": 1,
    "recurrent_units": 8,
    "dense_units": 16,
    "two_streams": False,  # half of the time that compiling takes
}


@pytest.fixture
def networks():
    """Two equal ones, and the global setting as it was."""
    torch.manual_seed(0)
    plain = PHASEN(**SIZES).train()
    yield plain, copy.deepcopy(plain)
    autograd_config.activation_memory_budget = 1.0


def gradients(network, spectrogram, lengths=None):
    network.zero_grad()
    network(spectrogram, lengths).spectrogram.square().sum().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters()])


def assert_same(network, plain, spectrogram, lengths=None):
    expected = gradients(plain, spectrogram, lengths)
    found = gradients(network, spectrogram, lengths)
    assert (found - expected).norm() < 1e-4 * expected.norm()


def test_one_shape_is_compiled_with_and_without_padding(networks):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    plain, network = networks
    compile_network(network, backend=backend, dynamic=False)
    assert network.state_dict().keys() == plain.state_dict().keys()
    lengths = torch.tensor([1.0, 0.5, 0.3])
    counts = []
    for batch, frames, padding in (
        (3, 20, lengths),
        (3, 20, None),
        (3, 20, lengths.flip(0)),
        (2, 20, None),
        (3, 12, lengths),
    ):
        x = torch.randn(batch, frames, 33, 2)
        assert_same(network, plain, x, padding)
        counts.append(len(graphs))
    assert 0 < counts[0] < counts[1]
    assert set(counts[1:]) == {counts[1]}


def test_a_deep_copy_has_weights_of_its_own(networks):
    plain, network = networks
    compile_network(network, backend="eager")
    other = copy.deepcopy(network)
    for parameter in network.parameters():
        parameter.data.zero_()
    assert_same(other, plain, torch.randn(1, 9, 33, 2))


def test_the_real_compiler_keeps_the_numbers(networks):
    try:
        check_compiler()
    except UserError as error:
        pytest.skip(str(error))
    plain, network = networks
    compile_network(network, activation_memory_budget=0.5)
    assert autograd_config.activation_memory_budget == 0.5
    lengths = torch.tensor([1.0, 0.5, 0.3])
    assert_same(network, plain, torch.randn(3, 20, 33, 2), lengths)


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"C\+\+ compiler no-such-compiler;"):
        check_compiler()


@pytest.mark.parametrize("lengths", [None, torch.tensor([1.0, 0.6])])
def test_an_objective_is_captured_whole(lengths):
    torch._dynamo.reset()
    graphs, runs = [], []

    def backend(graph, inputs):
        graphs.append(graph)
        return lambda *values: runs.append(1) or graph.forward(*values)

    objective = Objective(
        compressed={"loss": compressed_complex_loss},
        pesq={"loss": pesq_loss},
        si_snr={"loss": si_snr_loss},
        envelope={"loss": log_spectral_loss, "domain": "consistent_spectrum"},
    )
    stft = ConvSTFT(16000)
    clean = noise(2, 16000)
    wave = (clean + noise(2, 16000, seed=1)).requires_grad_()
    compiled = compile_objective(objective, backend=backend, fullgraph=True)
    results = []
    for function in (objective, compiled, compiled):
        loss, terms = function(wave, stft(wave), clean, lengths, stft)
        [gradient] = torch.autograd.grad(loss, wave)
        results.append((loss, gradient, *terms.values()))
    for found in results[1:]:
        torch.testing.assert_close(found, results[0])
    # Neither another shape is compiled, nor the longer ones of validation.
    compiled(wave[:, :8000], None, clean[:, :8000], None, stft)
    with torch.no_grad():
        longer = noise(2, 20000)
        compiled(longer, stft(longer), longer, None, stft)
    assert len(graphs) == 1 and len(runs) == 2
    compiled(wave, stft(wave), clean, lengths, stft)
    assert len(graphs) == 1 and len(runs) == 3
