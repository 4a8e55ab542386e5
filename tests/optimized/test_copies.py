"""Optimized enhancers are copied, stored and loaded like others."""

import copy
import io
import pickle

import pytest
import torch
from helpers.tiled_networks import OPTIONS, distance, small_enhancer, trained

from phasen_sb import PhasenEnhancer
from phasen_sb.errors import UserError
from phasen_sb.native import library
from phasen_sb.optimized import optimize
from phasen_sb.optimized.network import TiledPHASEN
from phasen_sb.optimized.portable import convolution
from phasen_sb.utils.hardware import PRECISIONS


def through_bytes(module):
    return pickle.loads(pickle.dumps(module))


def through_a_file(module, weights_only=False):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=weights_only)


COPIES = [copy.copy, copy.deepcopy, through_bytes, through_a_file]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["seed", "paper", "odd channels", "gru"])
def test_can_be_copied(name, precision, operations):
    fast = optimize(small_enhancer(**OPTIONS[name]), precision)
    x = torch.randn(1, 3000)
    expected = fast(x)[0]
    copies = [take(fast) for take in COPIES]
    copies += [take(copies[1]) for take in COPIES]
    for one in copies:
        assert type(one) is PhasenEnhancer
        assert type(one.network) is type(fast.network)
        assert torch.equal(one(x)[0], expected)
    del one, copies
    assert torch.equal(fast(x)[0], expected)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["seed", "paper", "odd channels", "gru"])
def test_the_state_makes_another_enhancer_the_same(name, precision, operations):
    enhancer = small_enhancer(**OPTIONS[name])
    fast = optimize(enhancer, precision)
    # Where a kernel is zero must not decide how it is laid out.
    with torch.no_grad():
        for weight in enhancer.parameters():
            weight.mul_(0.9)
            if weight.dim() == 4:
                half = weight.shape[2] // 2
                weight[:, :, :half] = weight[:, :, half + 1 :] = 0
    other = optimize(enhancer, precision)
    x = torch.randn(1, 3000)
    expected = fast(x)[0]
    assert distance(expected, other(x)[0]) > 0.01
    state = fast.state_dict()
    assert all(value.layout == torch.strided for value in state.values())
    other.load_state_dict(through_a_file(state, weights_only=True))
    assert torch.equal(other(x)[0], expected)
    with pytest.raises(RuntimeError, match="Missing key"):
        fast.load_state_dict(enhancer.state_dict())


def test_states_of_other_shapes_are_refused(operations):
    tiled = TiledPHASEN(trained())
    other = TiledPHASEN(trained(amplitude_channels=16))
    with pytest.raises((RuntimeError, ValueError), match="16"):
        tiled.load_state_dict(other.state_dict())


def test_loading_looks_for_kernels_again(monkeypatch):
    stored = pickle.dumps(library.Compiled(torch.bfloat16))
    monkeypatch.setattr(library, "list_kinds", lambda: (library.BF16,))
    assert pickle.loads(stored).kind == library.BF16
    monkeypatch.setattr(library, "list_kinds", lambda: ())
    with pytest.raises(UserError, match="optimize the trained enhancer here"):
        pickle.loads(stored)


@torch.inference_mode()
def test_is_loaded_where_there_is_no_onednn(monkeypatch):
    monkeypatch.setattr(library, "list_kinds", lambda: ())
    tiled, x = TiledPHASEN(trained()), torch.randn(1, 65, 17, 2)
    stored = pickle.dumps(tiled)
    monkeypatch.setattr(convolution, "has_fused", lambda dtype: False)
    plain = pickle.loads(stored)
    assert not plain.squeeze.conv.fused
    assert distance(tiled(x).spectrogram, plain(x).spectrogram) < 2e-5


@torch.inference_mode()
@pytest.mark.parametrize("precision", PRECISIONS)
def test_stays_where_and_what_it_is(precision):
    enhancer = small_enhancer()
    fast, x = optimize(enhancer, precision), torch.randn(1, 3000)
    expected, plain = fast(x)[0], enhancer(x)[0]
    same = PRECISIONS[precision]
    for arguments in (
        {"dtype": torch.float64},
        {"dtype": {torch.float32: torch.bfloat16}.get(same, torch.float32)},
        {"dtype": torch.float16},
        {"device": "meta"},
        {"memory_format": torch.channels_last},
    ):
        with pytest.raises(UserError, match="cast the trained one"):
            fast.network.to(**arguments)
        with pytest.raises(UserError, match="cast the trained one"):
            copy.deepcopy(fast).to(**arguments)
    assert torch.equal(fast.to("cpu")(x)[0], expected)
    with pytest.raises(UserError):
        fast.double()
    assert torch.equal(enhancer(x)[0], plain)
