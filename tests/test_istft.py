"""What a GPU is not to be waited for: tried on tensors that hold nothing.

Of a tensor on the device "meta" no value can be read, and it takes the ways
of a GPU.
"""

import contextlib

import pytest
import torch
from small_brain import batches
from speechbrain.processing import features

from phasen_sb import (
    ISTFT,
    PHASEN,
    AmplitudeHead,
    PhasenEnhancer,
    sqrt_hann_window,
)
from phasen_sb.istft import move_windows

OBJECTIVE = """!new:phasen_sb.Objective {
    compressed: {loss: !name:phasen_sb.compressed_complex_loss },
    pesq: {loss: !name:phasen_sb.pesq_loss {sample_rate: 16000}},
    si_snr: {loss: !name:phasen_sb.si_snr_loss },
    envelope: {
        loss: !name:phasen_sb.log_spectral_loss ,
        domain: consistent_spectrum
    }
}"""


@pytest.fixture
def plain_autocast(monkeypatch):
    """Autocast knows no tensors that hold nothing."""
    monkeypatch.setattr(
        torch, "autocast", lambda *_, **__: contextlib.nullcontext()
    )


@pytest.mark.parametrize("samples", [None, 4000, 4321, 5000])
@pytest.mark.parametrize(
    "options",
    [
        {"win_length": 25, "hop_length": 6.25, "window_fn": sqrt_hann_window},
        {"win_length": 32, "hop_length": 16, "n_fft": 512},
        {"win_length": 25, "n_fft": None, "window_fn": torch.hamming_window},
        {
            "win_length": 16,
            "n_fft": 256,
            "center": False,
            "window_fn": torch.ones,
        },
    ],
    ids=str,
)
def test_overlap_add_is_torchs(options, samples):
    torch.manual_seed(0)
    ours = ISTFT(16000, **options)
    x = torch.randn(2, 26, (ours.n_fft or 400) // 2 + 1, 2).double()
    x.requires_grad_()
    ours.window = ours.window.double()
    results = [
        compute(x, samples)
        for compute in (features.ISTFT.forward.__get__(ours), ours.overlap_add)
    ]
    weights = torch.randn_like(results[0])
    gradients = [
        torch.autograd.grad((y * weights).sum(), x)[0] for y in results
    ]
    for pair in (results, gradients):
        assert torch.allclose(*pair, rtol=1e-9, atol=1e-12)


def test_padded_batch_comes_out_as_one_by_one():
    torch.manual_seed(0)
    istft = ISTFT(16000, window_fn=sqrt_hann_window)
    frames = torch.tensor([30, 7, 1])
    mask = (torch.arange(30) < frames[:, None])[..., None]
    x = torch.randn(3, 30, 201, 2) * mask[..., None]
    together = istft.overlap_add(x, 4641, mask)
    for one, count, whole in zip(x, frames, together, strict=True):
        samples = (int(count) - 1) * istft.hop_length + 1
        alone = istft(one[None, :count], sig_length=samples)
        assert torch.allclose(whole[:samples], alone[0], atol=1e-5)


def test_padded_batch_beyond_a_cpu(plain_autocast):
    torch.manual_seed(0)
    front_end = features.STFT(16000, n_fft=400), ISTFT(16000, n_fft=400)
    network = PHASEN(400, 4, 2, 1, recurrent_units=4, dense_units=8)
    enhancer = PhasenEnhancer(*front_end, network).eval()
    padded = (
        torch.randn(2, 41, 201, 2),  # whatever lies behind the second's end
        torch.tensor([41, 21]),
        torch.tensor([6400, 3300]),
        6400,
    )
    plain = enhancer._synthesise(*padded)
    assert torch.allclose(
        enhancer._synthesise_at_once(*padded), plain, atol=1e-6
    )
    # Beyond a CPU this is what is called: no value is read.
    meta = [x.to("meta") for x in padded[:3]]
    assert enhancer._synthesise(*meta, 6400).shape == (2, 6400)
    with pytest.raises(RuntimeError):  # SpeechBrain's own reads some
        features.ISTFT(16000, n_fft=400)(meta[0])


def test_sizes_that_do_not_fit_are_refused():
    x = torch.randn(1, 20, 201, 2)
    for options in ({"n_fft": 512}, {"n_fft": 400, "win_length": 32}):
        with pytest.raises(ValueError, match="n_fft is .*; it must be 400"):
            ISTFT(16000, **options).overlap_add(x)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("cost", ["default", OBJECTIVE], ids=["plain", "pesq"])
def test_training_step_reads_once(
    cost, padded, make_brain, plain_autocast, monkeypatch
):
    overrides = {} if cost == "default" else {"compute_cost": cost}
    brain = make_brain(**overrides)
    given = [batches(brain)[1] for _ in range(2)]
    for batch in given:
        assert len(batch.id) == 2
        batch.noisy_sig.lengths[0] = 0.7 if padded else 1
    if padded:
        # Packing for the LSTM is the one thing that asks for lengths.
        recur = AmplitudeHead._recur
        monkeypatch.setattr(
            AmplitudeHead, "_recur", lambda self, x, _: recur(self, x, None)
        )
    brain.on_fit_start()
    brain.device = "meta"
    brain.modules.to("meta")
    brain.averaged.module.to("meta")
    move_windows(brain.enhancer, "meta")
    brain.init_optimizers()
    brain.modules.train()
    read = []

    def read_ones(*scalars):
        assert all(scalar.device.type == "meta" for scalar in scalars)
        read.append(scalars)
        return torch.ones(len(scalars))

    monkeypatch.setattr(brain, "read", read_ones)
    for batch in given:
        brain.step += 1
        brain.fit_batch(batch)
    assert len(read) == brain.optimizer_step == 2


def test_windows_go_where_a_brain_computes(make_brain):
    brain = make_brain({"device": "meta"})
    for module in (brain.enhancer.stft, brain.averaged.module.istft):
        assert module.window.device.type == "meta"
    assert brain.loss_stft.window.device.type == "meta"
