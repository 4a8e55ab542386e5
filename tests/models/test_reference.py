"""Weights of the public reference code give the reference's results.

``tests/data/small*.npz`` were computed with that code (small sizes, random
weights): window 24, hop 6, FFT 32.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from phasen_sb import compressed_complex_loss, load_reference_checkpoint
from phasen_sb.errors import UserError
from phasen_sb.models.reference import our_names

DATA = Path(__file__).parents[1] / "fixtures"


def load(name):
    with np.load(DATA / name) as arrays:
        return {
            key: torch.tensor(arrays[key])
            for key in arrays.files
            if arrays[key].dtype.kind != "U"
        }


def state_dict(vectors):
    return {k[3:]: v for k, v in vectors.items() if k.startswith("sd/")}


def stacked(spectrogram):
    """``[B, T, F, 2]`` as the reference's ``[B, 2F, T]``."""
    return torch.cat(spectrogram.unbind(-1), dim=2).transpose(1, 2)


def assert_relative(actual, expected, tolerance=1e-5):
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error < tolerance, error


def reference_loss(spectrogram, clean):
    loss, terms = compressed_complex_loss(
        spectrogram,
        clean,
        compression="target",
        magnitude_floor=0,
        scale=True,
        return_terms=True,
    )
    return loss, torch.stack(
        [loss.detach(), terms["amplitude"], terms["phase"]]
    )


def test_inference_equals_reference(tmp_path):
    vectors = load("small.npz")
    path = tmp_path / "reference.pth"
    torch.save({"model": state_dict(vectors)}, path)
    enhancer = load_reference_checkpoint(path)
    with torch.no_grad():
        wave, spectrogram = enhancer(vectors["wave"])
        clean = enhancer.stft(vectors["target"])
    assert_relative(stacked(enhancer.stft(vectors["wave"])), vectors["in_spec"])
    assert_relative(stacked(spectrogram), vectors["batchfirst/est_spec"])
    assert_relative(wave, vectors["batchfirst/est_wav"])
    _, losses = reference_loss(spectrogram, clean)
    expected = vectors["batchfirst/loss_all_amp_phase"]
    assert torch.allclose(losses.double(), expected.double(), rtol=1e-5)
    wave, target = wave.double(), vectors["target"].double()
    shadow = (wave * target).sum() / target.square().sum() * target
    ratio = shadow.square().sum() / (wave - shadow).square().sum()
    expected = vectors["batchfirst/loss_sisnr"].double()
    assert torch.allclose(-10 * torch.log10(ratio), expected, rtol=1e-5)


def test_training_step_equals_reference():
    vectors = load("small_train_b2.npz")
    enhancer = load_reference_checkpoint(state_dict(load("small.npz")))
    enhancer.train()
    wave, spectrogram = enhancer(vectors["wave"])
    # Batch statistics in fp32 round differently in another memory layout.
    assert_relative(stacked(spectrogram), vectors["est_spec"], 5e-5)
    assert_relative(wave, vectors["est_wav"])
    loss, losses = reference_loss(spectrogram, enhancer.stft(vectors["target"]))
    assert torch.allclose(losses.double(), vectors["loss"].double(), rtol=1e-5)
    loss.backward()

    ours = dict(enhancer.named_parameters()) | dict(enhancer.named_buffers())
    names = our_names({key.partition("/")[2] for key in vectors}, blocks=3)
    gradients = statistics = 0
    for name, expected in vectors.items():
        kind, _, name = name.partition("/")
        tensor = ours.get(names.get(name))
        if kind == "grad":
            # A bias before a norm has gradient zero, up to rounding.
            scale = tensor.grad.abs().max().clamp(min=1e-2)
            grad = tensor.grad
            if expected.dim() == 4 and name.endswith("weight"):
                grad = grad.transpose(2, 3)
            grad = grad.reshape(expected.shape)
            assert (grad - expected).abs().max() < 1e-3 * scale, name
            gradients += 1
        elif kind == "after":
            assert_relative(tensor, expected)
            statistics += 1
    assert gradients == len(list(enhancer.parameters()))
    assert statistics == 2 * 30


def test_bad_checkpoints_are_explained(tmp_path):
    with pytest.raises(UserError, match="There is no file .*nothing.pth"):
        load_reference_checkpoint(tmp_path / "nothing.pth")
    text = tmp_path / "notes.pth"
    text.write_text("not a checkpoint")
    with pytest.raises(UserError, match="notes.pth cannot be read"):
        load_reference_checkpoint(text)
    state = state_dict(load("small.npz"))
    state.pop("fcs.4.bias")
    with pytest.raises(UserError, match="dense.4.bias"):
        load_reference_checkpoint(state)
