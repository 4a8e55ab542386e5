"""What a GPU is not to be waited for: tried on tensors that hold nothing.

Of a tensor on the device "meta" no value can be read, and it takes the ways
of a GPU.
"""

import contextlib
import sys
from functools import partial

import pytest
import torch
from helpers.small_brain import batches
from speechbrain.processing import features

from phasen_sb import ISTFT, PHASEN, AmplitudeHead, PhasenEnhancer
from phasen_sb.signals.windows import move_windows

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


def test_enhancing_reads_nothing(plain_autocast):
    front_end = features.STFT(16000, n_fft=400), ISTFT(16000, n_fft=400)
    network = PHASEN(400, 4, 2, 1, recurrent_units=4, dense_units=8)
    enhancer = PhasenEnhancer(*front_end, network).eval().to("meta")
    move_windows(enhancer, "meta")
    wave, spectrogram = enhancer(torch.randn(2, 6400, device="meta"))
    assert wave.shape == (2, 6400)
    padding = torch.tensor([41, 21]), torch.tensor([6400, 3300])
    padding = [x.to("meta") for x in padding]
    padded = enhancer._synthesise(spectrogram, *padding, 6400)
    assert padded.shape == (2, 6400)
    with pytest.raises(RuntimeError):  # SpeechBrain's own reads some
        features.ISTFT(16000, n_fft=400)(spectrogram)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("cost", ["default", OBJECTIVE], ids=["plain", "pesq"])
@pytest.mark.parametrize("optimizer", ["plain", "fused"])
def test_training_step_reads_once_or_later(
    optimizer, cost, padded, make_brain, plain_autocast, monkeypatch
):
    overrides = {} if cost == "default" else {"compute_cost": cost}
    brain = make_brain(**overrides)
    if optimizer == "fused":  # which PyTorch does not offer for "meta"
        monkeypatch.setattr(brain, "is_read_later", lambda: True)
        adam = sys.modules["torch.optim.adam"]
        check = "_device_dtype_check_for_fused"
        monkeypatch.setattr(adam, check, lambda _: None)
        brain.opt_class = partial(torch.optim.Adam, fused=True)
    given = [batches(brain)[1] for _ in range(2)]
    for batch in given:
        assert len(batch.id) == 2
        batch.noisy_sig.lengths[0] = 0.7 if padded else 1
    if padded:
        # Packing for the LSTM is the one thing that asks for lengths.
        recur = AmplitudeHead._recur
        monkeypatch.setattr(
            AmplitudeHead,
            "_recur",
            lambda self, x, _, memory: recur(self, x, None, memory),
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

    def on_fit_batch_end(batch, outputs, *_):
        assert padded == (outputs["lengths"] is not None)
        if padded:  # copied with the batch, not once more
            assert outputs["lengths"].device.type == "meta"

    monkeypatch.setattr(brain, "read", read_ones)
    brain.on_fit_batch_end = on_fit_batch_end
    for batch in given:
        brain.step += 1
        loss = brain.fit_batch(batch)
        brain.avg_train_loss = brain.update_average(loss, 0.0)
    assert brain.optimizer_step == 2
    assert len(read) == (2 if optimizer == "plain" else 0)
    brain.read_steps()
    assert len(read) == (2 if optimizer == "plain" else 1)
    assert brain.avg_train_loss > 0


def test_windows_go_where_a_brain_computes(make_brain):
    brain = make_brain({"device": "meta"})
    for module in (brain.enhancer.stft, brain.averaged.module.istft):
        assert module.window.device.type == "meta"
    # An enhancer with an STFT of another kind than the loss's.
    front_end = "{sample_rate: 16000}"
    brain = make_brain(
        {"device": "meta"},
        enhancer=f"""!new:phasen_sb.PhasenEnhancer {{
            stft: !new:phasen_sb.ConvSTFT {front_end},
            istft: !new:phasen_sb.ConvISTFT {front_end},
            network: !ref <network>
        }}""",
    )
    assert brain.loss_stft.window.device.type == "meta"
