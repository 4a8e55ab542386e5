"""PESQ's model of hearing as a loss: against PESQ, padding, silence."""

import numpy as np
import pytest
import soundfile
import torch
from helpers.signals import noise

from phasen_sb import pesq_loss
from phasen_sb.data import sample_corpus
from phasen_sb.losses.pesq import (
    _copy_constants,
    _disturbances,
    _smooth,
)
from phasen_sb.metrics import pesq


@pytest.fixture(scope="module")
def pairs():
    """(noisy, clean) of the sample corpus, whole utterances."""
    root = sample_corpus()
    clean = sorted((root / "clean_testset_wav_16k").iterdir())
    return [
        [
            torch.from_numpy(soundfile.read(path, dtype="float32")[0])
            for path in (root / "noisy_testset_wav_16k" / x.name, x)
        ]
        for x in clean
    ]


def mapped(loss):
    """P.862.2's mapping to the scale of listeners."""
    return 0.999 + 4 / (1 + np.exp(-1.3669 * (4.5 - loss) + 3.8224))


def test_it_follows_pesq(pairs):
    scores, ours = [], []
    for noisy, clean in pairs:
        # More and less noise, faint speech taken away, another level.
        for wave in (
            noisy,
            clean + 0.3 * (noisy - clean),
            clean + 0.1 * (noisy - clean),
            0.5 * clean.sign() * (clean.abs() - 0.01).clamp(min=0),
            0.5 * noisy,
        ):
            scores.append(pesq(clean.numpy(), wave.numpy()))
            loss = pesq_loss(wave[None], clean[None])
            ours.append(mapped(loss.item()))
    errors = np.abs(np.array(scores) - ours)
    assert errors.mean() < 0.03 and errors.max() < 0.1


def test_levels_and_fixed_filters_are_no_disturbance(pairs):
    noisy, clean = (wave[None] for wave in pairs[0])
    loss = pesq_loss(noisy, clean)
    assert pesq_loss(4 * clean, clean) < 0.01 * loss
    assert pesq_loss(clean - 0.5 * clean.roll(1), clean) < 0.01 * loss
    torch.testing.assert_close(pesq_loss(8 * noisy, 0.5 * clean), loss)


@pytest.mark.parametrize(("db", "low", "high"), [(20, 0, 1e-3), (40, 1, 3)])
def test_bands_that_are_missing_are_no_fixed_filter(db, low, high):
    clean = noise(1, 16000)
    spectrum = torch.fft.rfft(clean)
    spectrum[:, 4000:] *= 10 ** (-db / 20)
    assert low < pesq_loss(torch.fft.irfft(spectrum), clean) < high


@pytest.mark.parametrize(("ratio", "counts"), [(2.4, False), (2.6, True)])
def test_little_that_is_added_is_not_asymmetric(ratio, counts):
    # Powers to the power of 1.2 below 3 times the target's do not count.
    bands = torch.full((1, 1, 49), 1e6)
    symmetric, asymmetric = _disturbances(ratio * bands, bands)
    assert symmetric > 0 and (asymmetric > 0) == counts
    assert _disturbances(bands / ratio, bands)[1] == 0


def test_padding_does_not_count():
    clean, wave = noise(3, 20000), noise(3, 20000, seed=1)
    counts = [20000, 11111, 3000]
    alone = [
        pesq_loss(wave[i : i + 1, :n], clean[i : i + 1, :n])
        for i, n in enumerate(counts)
    ]
    lengths = torch.tensor(counts) / 20000
    found = pesq_loss(wave, clean, lengths, reduction="batch")
    torch.testing.assert_close(found, torch.stack(alone))
    assert len(set(found.tolist())) == 3
    torch.testing.assert_close(pesq_loss(wave, clean, lengths), found.mean())


def test_gradients_are_finite_on_silence_and_on_what_is_right():
    clean = noise(5, 16000)
    clean[1] = 0
    wave = clean + noise(5, 16000, seed=1)
    wave[2] = clean[2]
    wave[3] = 0
    wave[4, :9000] = 0
    wave.requires_grad_()
    loss = pesq_loss(wave, clean, reduction="batch")
    assert loss[1] == 0  # nothing to hear, so nothing to compare
    assert loss[2] < 1e-3
    assert (loss[[0, 3, 4]] > 1).all()
    loss.sum().backward()
    assert wave.grad.isfinite().all()
    assert not wave.grad[1].any()


def test_descent_takes_noise_away():
    clean = noise(1, 16000)
    start = wave = clean + noise(1, 16000, seed=1)
    for _ in range(10):
        wave = wave.detach().requires_grad_()
        pesq_loss(wave, clean).backward()
        wave = wave - 20 * wave.grad
    assert pesq_loss(wave, clean) < 0.7 * pesq_loss(start, clean)
    assert (wave - clean).norm() < (start - clean).norm()


def test_shorter_than_a_frame_and_unequal_lengths():
    assert pesq_loss(noise(1, 300), noise(1, 300, seed=1)) == 0
    assert pesq_loss(noise(1, 600), noise(1, 602, seed=1)) > 0.05


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(1, 16000), (1, 16010)], {}, "samples|length"),
        ([(1, 600)] * 2, {"reduction": "sum"}, "reduction"),
        ([(1, 600)] * 2, {"sample_rate": 48000}, "16000 Hz and got 48000 Hz"),
        ([(600,)] * 2, {}, r"\[B, samples\] and got predictions \[600\]"),
        ([(2, 600), (1, 600)], {}, r"targets \[1, 600\]"),
    ],
)
def test_what_cannot_be_compared_is_refused(shapes, options, message):
    with pytest.raises(ValueError, match=message):
        pesq_loss(*(noise(*shape) for shape in shapes), **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_around_it_changes_nothing(dtype):
    clean = noise(2, 8000)
    wave = (clean + noise(2, 8000, seed=1)).to(dtype).requires_grad_()
    alone = pesq_loss(wave.detach().float(), clean)
    with torch.autocast("cpu", dtype):
        loss = pesq_loss(wave, clean)
    torch.testing.assert_close(loss.detach(), alone)
    loss.backward()
    assert wave.grad.isfinite().all() and wave.grad.any()


def test_tables_kept_from_inference_serve_training():
    _copy_constants.cache_clear()
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 1, 4000, generator=generator)
    with torch.inference_mode():
        pesq_loss(clean + noise, clean)
    judged = (clean + noise).requires_grad_()
    pesq_loss(judged, clean).backward()
    assert judged.grad.isfinite().all() and judged.grad.any()


def test_gains_are_smoothed_by_the_recursion():
    generator = torch.Generator().manual_seed(0)
    gains = 5 * torch.rand(2, 60, 1, generator=generator, dtype=torch.double)
    expected = [gains[:, 0]]
    for gain in gains[:, 1:].unbind(1):
        expected.append(0.8 * gain + 0.2 * expected[-1])
    torch.testing.assert_close(_smooth(gains), torch.stack(expected, 1))
    short = gains[:, :1]
    torch.testing.assert_close(_smooth(short), short)
