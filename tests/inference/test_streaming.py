"""Streams give what the model gives of the whole signal."""

from itertools import chain

import numpy as np
import pytest
import torch
from helpers.causal_model import FRONT_ENDS, build, write_live_model
from helpers.signals import noise
from helpers.small_model import write_small_model

from phasen_sb import PHASEN, Enhancer, StreamingEnhancer
from phasen_sb.inference.frame_engines import (
    ENGINES,
    OnnxEngine,
    PyTorchEngine,
    make_engine,
)

BLOCKS = {
    "samples": [1] * 70 + [330],
    "any": [0, 3, 64, 7, 1, 999, 500, 26],
    "one": [1600],
    "two samples": [1, 1],
}
SMALL = {
    "n_fft": 128,
    "amplitude_channels": 4,
    "phase_channels": 3,
    "recurrent_units": 5,
    "dense_units": 9,
    "initialization": "default",
    "causal": True,
    "lookahead_frames": 1,
}


def stream_all(stream, wave, sizes):
    """What comes out, cut to what went in."""
    ends = np.cumsum(sizes)
    parts = [
        stream.process(wave[..., end - size : end])
        for size, end in zip(sizes, ends, strict=True)
    ]
    assert [part.shape[-1] for part in parts] == sizes
    delay = stream.delay
    rest = stream.flush()
    assert rest.shape[-1] == delay
    out = torch.cat([*parts, rest], -1)
    assert not out[..., :delay].any()
    return out[..., delay:]


@pytest.mark.parametrize("sizes", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("late, win_length", [(0, 32), (2, 25)])
def test_blocks_of_any_length(sizes, front_end, late, win_length):
    model = build(front_end, late, win_length)
    wave = noise(3, sum(sizes))
    stream = StreamingEnhancer(model, engine="pytorch")
    with torch.no_grad():
        expected = model(wave)[0]
    for _ in range(2):  # after flush() others can begin
        out = stream_all(stream, wave, sizes)
        assert torch.allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("normalize", ["running", False])
def test_blocks_of_a_hop_come_out_sooner(normalize):
    model = build("speechbrain", normalize=normalize)
    wave = noise(640)
    stream = StreamingEnhancer(model, 64, "pytorch")
    assert (stream.latency, stream.delay) == (64, 256 - 64)
    with torch.no_grad():
        expected = model(wave[None])[0][0]
    out = stream_all(stream, wave, [64, 128] + [64] * 7)
    assert torch.allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree_and_reset_forgets(engine):
    """Also with other options than the live recipe's."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = build("speechbrain")
    model.network = PHASEN(
        **SMALL,
        recurrent="gru",
        attention="bin",
        phase_norm="none",
        amplitude_to_phase=False,
        input_share=0.01,
        long_skips=False,
    ).eval()
    stream = StreamingEnhancer(model, engine=engine)
    stream.process(noise(5, 500))
    stream.reset()
    wave = noise(2, 300)
    with torch.no_grad():
        expected = model(wave)[0]
    out = stream_all(stream, wave, [100, 50, 150])
    assert torch.allclose(out, expected, atol=1e-5)


def test_engines_are_chosen_by_what_is_installed(monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    network = build("speechbrain").network
    assert isinstance(make_engine(network), OnnxEngine)
    with pytest.raises(ValueError, match="engine is 'fast'; it must be"):
        make_engine(network, "fast")
    network.__class__ = type("Subclass", (PHASEN,), {})
    assert isinstance(make_engine(network), PyTorchEngine)
    with pytest.raises(ValueError, match="takes a PHASEN, not the Subclass"):
        make_engine(network, "onnxruntime")
    network.__class__ = PHASEN
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    assert isinstance(make_engine(network), PyTorchEngine)
    with pytest.raises(ValueError, match="needs the package onnx; install"):
        make_engine(network, "onnxruntime")


def test_samples_come_back_as_they_were_given():
    stream = StreamingEnhancer(build("convolutions"), 64, "pytorch")
    wave = noise(2, 3, 640)
    expected = stream.process(wave.float().numpy())
    assert isinstance(expected, np.ndarray) and expected.dtype == np.float32
    stream.reset()
    integers = (1024 * wave).round().short()
    out = stream.process(integers)
    assert out.dtype == torch.int16 and out.shape == wave.shape
    assert np.abs(out.numpy() / 1024 - expected).max() < 0.01
    stream.reset()
    wave[0, 0, 100] = torch.nan
    out = stream.process(wave)
    assert out.isfinite().all() and out[1, 2, 300:].any()


def test_an_exported_model_streams_and_enhances_files(tmp_path):
    folder = write_live_model(tmp_path / "live")
    assert "live sound, 48 ms" in (folder / "README.md").read_text()
    wave = noise(9000)
    stream = StreamingEnhancer.from_pretrained(folder)
    out = stream_all(stream, wave, [9000])
    expected = Enhancer.from_pretrained(folder, precision="fp32").enhance(
        wave, 16000
    )
    assert torch.allclose(out, expected, atol=1e-5)


def list_tensors(thing):
    if isinstance(thing, torch.Tensor):
        return [thing]
    if isinstance(thing, np.ndarray):
        return [torch.from_numpy(thing)]
    if isinstance(thing, list):
        return list(chain.from_iterable(map(list_tensors, thing)))
    if type(thing).__module__.startswith(("phasen_sb.sig", "phasen_sb.inf")):
        return list_tensors(list(vars(thing).values()))
    return []


@pytest.mark.parametrize("engine, most", [("pytorch", 40), ("onnxruntime", 10)])
def test_memory_does_not_grow(engine, most):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    stream = StreamingEnhancer(build("speechbrain"), engine=engine)
    sizes = []
    for block in noise(40, 100):
        stream.process(block)
        tensors = list_tensors(list(vars(stream).values()))
        assert 5 < len(tensors) <= most
        sizes.append(sum(t.untyped_storage().nbytes() for t in tensors))
    assert max(sizes[20:]) <= max(sizes[4:20])


def test_models_that_need_the_whole_utterance_are_refused(tmp_path):
    with pytest.raises(ValueError, match="needs the whole utterance"):
        StreamingEnhancer.from_pretrained(write_small_model(tmp_path / "model"))
    with pytest.raises(ValueError, match="needs the whole utterance"):
        StreamingEnhancer(build("speechbrain", normalize=True))
    with pytest.raises(ValueError, match="is a PHASEN; only"):
        StreamingEnhancer(PHASEN(n_fft=16, recurrent_units=3))


def test_wrong_blocks_are_named():
    model = build("speechbrain")
    with pytest.raises(ValueError, match="block_samples is 0"):
        StreamingEnhancer(model, 0)
    with pytest.raises(ValueError, match="block_samples is nan"):
        StreamingEnhancer(model, float("nan"))
    with pytest.raises(ValueError, match="device 'gpu' cannot be used"):
        StreamingEnhancer.from_pretrained("model", "gpu")
    stream = StreamingEnhancer(model, 64, "pytorch")
    with pytest.raises(ValueError, match="no signal yet"):
        stream.flush()
    for shape in ((), (0, 64)):
        with pytest.raises(ValueError, match="needs a channel"):
            stream.process(np.zeros(shape))
    with pytest.raises(ValueError, match="65 samples.*block_samples, 64"):
        stream.process(noise(1, 65))
    stream.process(noise(2, 64))  # what was refused did not begin
    with pytest.raises(ValueError, match=r"\[3, 64\], but .* \[2\]; call"):
        stream.process(noise(3, 64))
