"""Chunks and files that are enhanced in batches come out as one by one."""

import logging
import threading
import time
from contextlib import nullcontext

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers.small_model import decibels
from speechbrain.processing import features
from torch import nn

from phasen_sb import PHASEN, ConvISTFT, ConvSTFT, PhasenEnhancer
from phasen_sb.archives.jobs import enhance_files
from phasen_sb.errors import UserError
from phasen_sb.inference.batching import BatchedModel, round_length
from phasen_sb.inference.chunk_plan import ChunkPlan
from phasen_sb.inference.device_model import DeviceModel
from phasen_sb.inference.enhancer import Enhancer
from phasen_sb.network.unpacked_recurrence import UnpackedRecurrence

FRONT_ENDS = {
    "speechbrain": (features.STFT, features.ISTFT),
    "convolutions": (ConvSTFT, ConvISTFT),
}


def build(front_end="speechbrain", center=True, normalize=True, **options):
    """A small PHASEN at 4 kHz with random weights, also of its norms."""
    torch.manual_seed(0)
    sizes = {"win_length": 32, "hop_length": 16, "n_fft": 128}
    stft, istft = (
        kind(4000, **sizes, center=center, window_fn=torch.hamming_window)
        for kind in FRONT_ENDS[front_end]
    )
    settings = {
        "n_fft": 128,
        "amplitude_channels": 4,
        "phase_channels": 3,
        "recurrent_units": 5,
        "dense_units": 9,
        "initialization": "default",
    }
    network = PHASEN(**settings | options)
    for name, parameter in network.named_parameters():
        if "norm" in name or "filter" in name:  # else nothing to be seen
            nn.init.uniform_(parameter, 0.5, 1.5)
    return PhasenEnhancer(stft, istft, network, normalize).eval()


def make_enhancer(model, devices=("cpu", "cpu"), step=2):
    enhancer = Enhancer(
        {"enhance_model": model},
        {"sample_rate": 4000, "devices": devices},
        {"device": "cpu", "precision": "fp32"},
    )
    enhancer.plan = ChunkPlan(step)
    return enhancer


def noise(*shape):
    return np.random.default_rng(0).standard_normal(shape)


class Gate:
    """Lets a model's first call wait until others have gathered."""

    def __init__(self, monkeypatch):
        self.opened = threading.Event()
        self.batches = []
        compute = DeviceModel.enhance_batch

        def enhance_batch(model, waves, samples, moments=()):
            self.batches.append((len(waves), samples))
            if len(self.batches) == 1:
                assert self.opened.wait(60)
            return compute(model, waves, samples, moments)

        monkeypatch.setattr(DeviceModel, "enhance_batch", enhance_batch)


def enhance_together(batched, waves, gate):
    """Enhances waveforms; all but the first wait while it is enhanced."""
    results = [None] * len(waves)

    def enhance(i):
        try:
            results[i] = batched.enhance(torch.from_numpy(waves[i]).float(), {})
        except Exception as error:
            results[i] = error

    threads = [
        threading.Thread(target=enhance, args=(i,)) for i in range(len(waves))
    ]
    for number, thread in enumerate(threads):
        thread.start()
        while not gate.batches or len(batched._waiting) < number:
            time.sleep(0.001)
    gate.opened.set()
    for thread in threads:
        thread.join()
    return results


def find_unpacked(model):
    return [x for x in model.modules() if isinstance(x, UnpackedRecurrence)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"front_end": "convolutions", "phase_norm": "frame"},
        {"recurrent": "gru", "phase_norm": "global_unbiased"}
        | {"filter_kernel": (3, 3)},
        {"two_streams": False, "center": False, "front_end": "convolutions"},
        {"causal": True, "lookahead_frames": 2, "phase_norm": "frame"}
        | {"normalize": "running"},
        {"band_bins": 4, "phase_norm": "frame"},
    ],
    ids=["lstm", "convolutions", "gru", "one stream", "causal", "bands"],
)
def test_a_batch_equals_its_waveforms_alone(options):
    model = build(**options)
    lengths = [4000, 3999, 2500, 1700, 130, 1]
    waves = [torch.from_numpy(noise(n)).float() for n in lengths]
    device_model = DeviceModel(model, "cpu", "fp32")
    changes = device_model.enhance_batch(waves, 4096)
    for row, wave in enumerate(waves):
        with torch.inference_mode():
            change = (model(wave[None])[0] - wave)[0]
        assert change.abs().max() > 0.1
        found = changes.read(row, len(wave))
        assert torch.allclose(found, change, atol=2e-5)
    assert not find_unpacked(model)
    assert bool(find_unpacked(device_model._model)) != model.network.causal


def test_each_waveform_has_the_norms_of_its_recording():
    model = build(phase_norm="global_unbiased", two_streams=True)
    alone = DeviceModel(model, "cpu", "fp32", copies=False)
    together = DeviceModel(model, "cpu", "fp32")
    recordings = [noise(5000), noise(5000) ** 3]
    recordings = [torch.from_numpy(wave).float() for wave in recordings]
    moments = [{}, {}]
    for recording, found in zip(recordings, moments, strict=True):
        together.measure_norms(recording, found)
    waves = [recordings[0][:4000], recordings[1][:3000]]
    changes = together.enhance_batch(waves, 4096, moments)
    for row, wave in enumerate(waves):
        expected = alone.enhance(wave, moments[row])
        found = changes.read(row, len(wave))
        assert torch.allclose(found, expected, atol=2e-5)
        other = alone.enhance(wave, moments[1 - row])
        assert not torch.allclose(other, expected, atol=1e-3)


def test_what_waits_becomes_a_batch(monkeypatch):
    gate = Gate(monkeypatch)
    batched = BatchedModel([DeviceModel(build(), "cpu", "fp32")], 8 * 4096)
    waves = [noise(n) for n in [500] + 11 * [4000] + [4090, 800]]
    results = enhance_together(batched, waves, gate)
    assert [len(r) for r in results] == [len(w) for w in waves]
    assert gate.batches == [
        *[(1, 512), (8, 4096)],  # as many as are allowed
        *[(4, 4096), (1, 832)],  # the longest waiting first
    ]
    assert not batched._waiting


def test_lengths_are_rounded_to_few():
    lengths = [round_length(n) for n in range(1, 200000)]
    assert all(n <= found <= 1.125 * n for n, found in enumerate(lengths, 1))
    assert len(set(lengths)) < 8 * 18
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("phase_norm", ["global", "frame"])
def test_files_equal_those_enhanced_one_by_one(tmp_path, phase_norm):
    model = build(phase_norm=phase_norm)
    waves = {
        "short.wav": noise(3000),
        "stereo.wav": noise(9000, 2) * [0.2, 1],
        "long.wav": noise(31000) * np.linspace(0.1, 2, 31000),
        "silent.wav": np.zeros(5000),
        "fast.flac": noise(20000) / 5,
    }
    pairs = []
    for name, wave in waves.items():
        rate = 11025 if name == "fast.flac" else 4000
        kind = "PCM_24" if name.endswith("flac") else "DOUBLE"
        sf.write(tmp_path / name, wave, rate, kind)
        pairs.append((tmp_path / name, tmp_path / "out" / name))
    batched, alone = make_enhancer(model), make_enhancer(model, ("cpu",))
    assert batched.files_at_a_time == 64 and alone.files_at_a_time == 1
    report = enhance_files(batched, pairs, progress=False)
    assert len(report.done) == len(pairs) and not report.failed
    for source, target in pairs:
        wave, rate = sf.read(source)
        expected = alone.enhance(wave.T, rate).T
        found = sf.read(target)[0]
        if wave.any():
            assert decibels(expected - wave, wave) > -30
            assert decibels(found - expected, expected) < -85
        else:
            assert not found.any()


def test_a_single_recording_fills_batches(monkeypatch):
    gate = Gate(monkeypatch)
    gate.opened.set()
    enhancer = make_enhancer(build(phase_norm="frame"), ("cpu", "cpu"))
    wave = noise(120000)
    counted = threading.active_count()
    found = enhancer.enhance(wave, 4000)
    assert threading.active_count() <= counted + 2  # one for each device
    expected = make_enhancer(build(phase_norm="frame"), ("cpu",))
    expected = expected.enhance(wave, 4000)
    assert np.allclose(found, expected, atol=1e-4)
    assert max(count for count, _ in gate.batches) >= 4


def limit_memory(monkeypatch, most):
    """A device that computes so many waveforms at once at most."""
    compute, tried = DeviceModel.compute, []

    def limited(model, x, *given):
        tried.append(len(x))
        if len(x) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return compute(model, x, *given)

    monkeypatch.setattr(DeviceModel, "compute", limited)
    return tried


def test_out_of_memory_halves_batches_and_says_so_once(monkeypatch, caplog):
    gate = Gate(monkeypatch)
    batched = BatchedModel([DeviceModel(build(), "cpu", "fp32")], 99 * 4096)
    waves = [noise(4000 + i) for i in range(17)]
    expected = enhance_together(batched, waves[:1], gate)
    tried = limit_memory(monkeypatch, 3)
    gate.opened.clear(), gate.batches.clear()
    with caplog.at_level(logging.WARNING):
        results = enhance_together(batched, waves, gate)
    assert tried == [1, 16, 8, 4] + 8 * [2]
    assert torch.equal(results[0], expected[0])
    assert [len(change) for change in results] == [len(w) for w in waves]
    assert len(caplog.records) == 1
    assert "too small for 16 chunks" in caplog.text
    gate.opened.clear(), gate.batches.clear(), tried.clear()
    enhance_together(batched, waves[:5], gate)
    assert tried == [1, 2, 2]  # remembered


def test_a_waveform_too_large_alone_fails_alone(monkeypatch):
    limit_memory(monkeypatch, 0)
    enhancer = make_enhancer(build(), ("cpu", "cpu"))
    with pytest.raises(UserError, match="too small for a chunk of .* --chunk"):
        enhancer.enhance(noise(3000), 4000)


def test_an_error_reaches_all_of_a_batch(monkeypatch):
    gate = Gate(monkeypatch)
    model = build()
    batched = BatchedModel([DeviceModel(model, "cpu", "fp32")], 99 * 4096)
    compute = DeviceModel.compute

    def broken(model, x, *given):
        if len(x) > 1:
            raise ValueError("broken")
        return compute(model, x, *given)

    monkeypatch.setattr(DeviceModel, "compute", broken)
    results = enhance_together(batched, [noise(4000)] * 4, gate)
    assert [type(r) for r in results].count(ValueError) == 2
    assert not batched._waiting
    assert len(batched.enhance(torch.randn(4000), {})) == 4000  # goes on


def test_other_models_get_waveforms_one_by_one():
    class Louder(nn.Module):
        def forward(self, x):
            assert len(x) == 1
            return 2 * x, None

    enhancer = make_enhancer(Louder(), ("cpu", "cpu"))
    wave = noise(5, 30000)
    assert np.allclose(enhancer.enhance(wave, 4000), 2 * wave, atol=1e-5)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_batch_reads_nothing_from_the_device(front_end, monkeypatch):
    """Of a tensor on the device "meta" no value can be read."""
    # Autocast does not know it.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    model = build(front_end, phase_norm="frame")
    device_model = DeviceModel(model, "meta", "fp32")
    x = torch.empty(3, 4096, device="meta")
    lengths = torch.empty(3, device="meta")
    assert device_model.compute(x, lengths).shape == (3, 4096)
    model.network.amplitude_head.avoid_packing = lambda: None
    with pytest.raises((RuntimeError, NotImplementedError)):  # packs
        DeviceModel(model, "meta", "fp32").compute(x, lengths)
