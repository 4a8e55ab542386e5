"""On a GPU augmentation synchronises with nothing and does the same.

Tried without one: a fake tensor can be "on" a GPU and has a shape, but no
values to read; and on the CPU the GPU's way gives what the CPU's does.
"""

from copy import deepcopy

import pytest
import torch
from scipy.stats import ks_2samp
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode

from phasen_sb import (
    Babble,
    Clipping,
    Codec,
    Coloration,
    Hiss,
    LevelChanges,
    Pauses,
    Remix,
    Reverberation,
    Speed,
    SyntheticNoise,
    VocalTract,
)
from phasen_sb.augmentation import effect, remix

EFFECTS = [
    Coloration(0.5),
    Hiss(0.5),
    LevelChanges(0.5, silence_probability=0.3),
    Pauses(0.5),
    Reverberation(0.5),
    Speed(0.5),
    Speed(0.5, [0.9, 1.0, 1.1], repeat=True),
    VocalTract(0.5),
]


class OnDevice(torch.Generator):
    """What FakeTensorMode takes for a generator on a GPU."""

    device = torch.device("cuda")


class NoCopies(TorchDispatchMode):
    """Refuses copies from one device to another."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = [x.device for x in args if isinstance(x, torch.Tensor)]
        if func is torch.ops.aten._to_copy.default:
            assert result.device == given[0], f"a copy to {result.device}"
        if func is torch.ops.aten.copy_.default:
            assert given[0] == given[1], f"a copy from {given[1]}"
        return result


def make_remix():
    speech = deepcopy(EFFECTS)  # they keep constants of the device
    noise = [*speech, SyntheticNoise(0.5), Babble(0.5)]
    channel = [Clipping(0.5), Codec(0.5)]
    return Remix(-5, 20, 0.5, 0.5, 0.1, speech, noise, channel)


@pytest.fixture
def as_on_device(monkeypatch):
    """Lets draws of the CPU go the way of those of a GPU."""

    def switch():
        for module in (effect, remix):
            monkeypatch.setattr(module, "is_on_host", lambda generator: False)

    return switch


def test_nothing_is_read_and_nothing_copied():
    remix = make_remix()
    with FakeTensorMode(allow_non_fake_inputs=True):
        clean = torch.randn(6, 3200, device="cuda")
        lengths = torch.rand(6, device="cuda")
        noisy = clean + torch.randn(6, 3200, device="cuda")
        generator = OnDevice()
        remix(noisy, clean, generator)  # constants are copied once
        with NoCopies():
            pair = remix(noisy, clean, generator, lengths)
            apart = remix.mix(clean, noisy[:5], generator)
            for result in (*pair, *apart):
                assert result.shape == (6, 3200)
                assert result.device == clean.device
        # Reads and copies are found out.
        with pytest.raises(DataDependentOutputException):
            remix(noisy, clean, torch.Generator())
        with NoCopies(), pytest.raises(AssertionError, match="a copy to cuda"):
            torch.rand(6).to(clean)


@pytest.mark.parametrize("effect", EFFECTS)
def test_both_ways_change_the_same_by_the_same(
    effect, as_on_device, monkeypatch
):
    torch.manual_seed(0)
    signals = torch.randn(8, 3200)
    chosen = torch.rand(8, generator=torch.Generator().manual_seed(1)) < 0.5
    drawn = effect.draw(8, 3200, torch.Generator().manual_seed(2))
    assert all(len(value) == 8 for value in drawn)
    monkeypatch.setattr(
        effect,
        "draw",
        lambda count, *_: [x if count == 8 else x[chosen] for x in drawn],
    )
    host = effect(signals, torch.Generator().manual_seed(1))
    as_on_device()
    device = effect(signals, torch.Generator().manual_seed(1))
    assert torch.allclose(host, device, atol=1e-5)
    assert torch.equal((device != signals).any(1), chosen) or (
        1.0 in getattr(effect, "speeds", ())
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_cuda_graph_captures_it():
    remix = make_remix()
    clean, noise = torch.randn(2, 6, 3200, device="cuda")
    generator = torch.Generator("cuda")
    remix(clean + noise, clean, generator)  # constants are copied once
    torch.cuda.set_sync_debug_mode("error")
    try:
        expected = remix(clean + noise, clean, generator.manual_seed(1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        found = remix(clean + noise, clean, generator)
    generator.manual_seed(1)
    graph.replay()
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("repeat", [False, True])
@pytest.mark.parametrize("samples", [1, 99, 3200])
def test_unread_speeds_are_those_of_torchaudio(samples, repeat):
    torch.manual_seed(0)
    speed = Speed(1, [0.5, 0.87, 0.93, 1.0, 1.25, 2], repeat)
    signals, draws = torch.randn(6, samples), torch.arange(6)
    played = speed.change_unread(signals, draws)
    assert torch.allclose(played, speed.change(signals, draws), atol=2e-6)


def test_batches_are_remixed_alike(as_on_device):
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 6, 3200)
    noise[[0, 3]] = 0
    lengths = torch.tensor([1, 0.5, 1, 0.8, 1, 1])
    # With probability 1 both ways draw the same.
    effects = [type(effect)(1) for effect in EFFECTS[:-1]]
    every = Remix(-5, 20, 1, 0.5, 0.2, effects, effects[2:])
    host = every(clean + noise, clean, "1", lengths)
    as_on_device()
    device = every(clean + noise, clean, "1", lengths)
    for one, other in zip(host, device, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("noises", [0, 1, 6])
def test_any_number_of_noises_is_mixed_without_a_look(noises, as_on_device):
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 6, 3200)
    noise[noises:] = 0
    as_on_device()
    kept = 0
    for seed in range(40):
        remix = Remix(5, 5, probability=0.5, second_probability=1)
        mixed, target = remix(clean + noise, clean, str(seed))
        assert torch.equal(target, clean)
        if torch.equal(mixed, clean + noise):
            kept += 1
            continue
        ratio = clean.square().sum(1) / (mixed - clean).square().sum(1)
        assert torch.allclose(10 * ratio.log10(), torch.tensor(5.0), atol=0.01)
    assert 10 < kept < 30 if noises else kept == 40


@pytest.mark.parametrize("effect", EFFECTS)
def test_both_ways_draw_alike(effect, as_on_device):
    def describe(seed):
        heard = effect(signals, torch.Generator().manual_seed(seed))
        changed = heard[(heard != signals).any(1)]
        power = torch.fft.rfft(changed).abs().square()
        bins = torch.arange(power.shape[1])
        total = power.sum(1).clamp(min=1e-9)
        return changed, total.log(), (power * bins).sum(1) / total

    torch.manual_seed(0)
    signals = torch.randn(400, 1600).cumsum(1)
    host, *measures = describe(1)
    as_on_device()
    device, *others = describe(2)
    assert abs(len(host) - len(device)) < 40
    for one, other in zip(measures, others, strict=True):
        assert ks_2samp(one, other).pvalue > 0.01
