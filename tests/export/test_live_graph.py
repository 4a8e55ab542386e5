"""A causal model's graph enhances hop by hop, in Python and in C."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers.causal_model import build, write_live_model
from helpers.signals import noise
from helpers.small_model import write_small_model

from phasen_sb import PHASEN, StreamingEnhancer
from phasen_sb.cli import main
from phasen_sb.export.step_graph import export_hop_step
from phasen_sb.export.web_page import RUNTIME
from phasen_sb.inference.frame_engines import make_engine

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

EXAMPLES = Path(__file__).parents[2] / "examples"
#: Where the header of ONNX Runtime's C API may lie.
INCLUDES = [
    os.environ.get("ONNXRUNTIME_INCLUDE", ""),
    "/usr/include/onnxruntime",
    "/usr/include/onnxruntime/core/session",
    "/usr/local/include/onnxruntime",
    "/usr/local/include",
]


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    write_live_model(folder / "model")
    out = folder / "graph"
    assert main(["export", str(folder / "model"), str(out), "--onnx"]) == 0
    return out


@pytest.fixture(scope="module")
def noisy():
    """16-bit samples, not of a whole number of hops."""
    return (8192 * noise(5 * 16000 // 4 + 77).numpy()).astype("<i2")


@pytest.fixture(scope="module")
def expected(live, noisy):
    stream = StreamingEnhancer.from_pretrained(live, engine="pytorch")
    out = np.concatenate([stream.process(noisy), stream.flush()])
    return out[len(out) - len(noisy) :]


def agree(out, expected):
    # After the end the graph hears silence, the model nothing: a hop differs.
    assert len(out) == len(expected) and np.abs(expected).max() > 1000
    difference = np.abs(out.astype(float) - expected)
    return difference[:-512].max() <= 1


def test_metadata_tell_what_users_need(live):
    session = onnxruntime.InferenceSession(live / "model.onnx")
    meta = session.get_modelmeta().custom_metadata_map
    assert [i.name for i in session.get_inputs()] == ["noisy", "state"]
    assert [i.shape[0] for i in session.get_inputs()] == [
        int(meta["hop_length"]),
        int(meta["state_length"]),
    ]
    stream = StreamingEnhancer.from_pretrained(
        live, block_samples=256, engine="pytorch"
    )
    assert int(meta["sample_rate"]) == stream.sample_rate
    assert int(meta["delay"]) == stream.delay
    assert float(meta["latency_ms"]) == stream.latency


def test_models_that_remember_nothing_of_some_kind(tmp_path):
    """ONNX Runtime ended the process where a state is empty."""
    for sizes in ({"win_length": 32}, {"win_length": 16}, {"hop_length": 32}):
        enhancer = build("convolutions", late=0, **sizes)
        assert export_hop_step(enhancer, tmp_path / "model.onnx") < 1e-4
    network = enhancer.network
    filtered = PHASEN(
        n_fft=128,
        recurrent_units=5,
        phase_norm="frame",
        causal=True,
        filter_kernel=(1, 3),
    ).eval()
    filtered.neighbour_filter.conv.weight.data.normal_()
    frames = torch.randn(1, 9, network.n_bins, 2)
    outputs = []
    for name in ("pytorch", "onnxruntime"):
        with torch.inference_mode():
            outputs.append(make_engine(filtered, name).process(frames))
    # Where the phase's modulus almost vanishes, rounding is amplified.
    difference = (outputs[0] - outputs[1]).abs()
    assert difference.median() < 1e-5 and difference.max() < 1e-2


def test_hops_equal_the_stream(live):
    session = onnxruntime.InferenceSession(live / "model.onnx")
    stream = StreamingEnhancer.from_pretrained(
        live, block_samples=256, engine="pytorch"
    )
    state = np.zeros(session.get_inputs()[1].shape, np.float32)
    for hop in noise(40, 256).float().numpy():
        out, state = session.run(None, {"noisy": hop, "state": state})
        assert np.abs(out - stream.process(hop)).max() < 1e-5
    assert np.abs(out).max() > 0.1


def test_python_example(live, noisy, expected, tmp_path):
    sf.write(tmp_path / "noisy.wav", noisy, 16000)
    subprocess.run(
        [
            *(sys.executable, EXAMPLES / "enhance_onnx.py"),
            *(live / "model.onnx", tmp_path / "noisy.wav"),
            tmp_path / "clean.wav",
        ],
        check=True,
    )
    out, _ = sf.read(tmp_path / "clean.wav", dtype="int16")
    assert agree(out, expected)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The C example, compiled."""
    compiler = shutil.which("cc")
    header = "onnxruntime_c_api.h"
    found = [path for path in INCLUDES if Path(path, header).is_file()]
    wheel = Path(onnxruntime.__file__).parent / "capi"
    library = next(wheel.glob("libonnxruntime.so.*"), None)  # of the wheel
    if not (compiler and found and library):
        pytest.skip(
            f"needs a C compiler and {header} (folder: ONNXRUNTIME_INCLUDE)"
        )
    folder = tmp_path_factory.mktemp("c")
    program = folder / "live_onnx"
    # The name by which programs look for it.
    (folder / "libonnxruntime.so.1").symlink_to(library)
    subprocess.run(
        [
            *(compiler, "-O2", "-Wall", "-Wextra", "-Werror"),
            *(EXAMPLES / "live_onnx.c", "-o", program, f"-I{found[0]}"),
            *(library, f"-Wl,-rpath,{folder}", "-lm"),
        ],
        check=True,
    )
    return program


def run(program, model, samples):
    return subprocess.run(
        [program, model], input=samples.tobytes(), capture_output=True
    )


def test_c_example(live, program, noisy, expected):
    assert len((EXAMPLES / "live_onnx.c").read_text().splitlines()) < 150
    done = run(program, live / "model.onnx", noisy)
    assert done.returncode == 0 and done.stderr == b"16000 Hz, latency 48 ms\n"
    assert agree(np.frombuffer(done.stdout, "<i2"), expected)
    assert run(program, live / "model.onnx", noisy[:0]).stdout == b""
    done = run(program, live / "missing.onnx", noisy)
    assert done.returncode == 1 and b"missing.onnx" in done.stderr


def test_pages_that_cannot_be_written_leave_nothing(tmp_path, capsys):
    model, out = write_small_model(tmp_path / "model"), tmp_path / "out"
    arguments = ["export", str(model), str(out), "--web", str(tmp_path)]
    assert main(arguments) == 1
    assert "run npm install onnxruntime-web" in capsys.readouterr().err
    runtime = tmp_path / "onnxruntime-web" / "dist"
    runtime.mkdir(parents=True)
    for name in RUNTIME:
        (runtime / name).touch()
    assert main(arguments) == 1
    assert "is not a causal model, which --web" in capsys.readouterr().err
    assert not out.exists()
