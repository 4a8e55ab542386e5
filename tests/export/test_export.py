"""A training run becomes a folder that loads alone, and gives the same."""

import json
import subprocess
import sys
import wave as wave_module
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers.tiled_networks import small_enhancer
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML

from phasen_sb import load_reference_checkpoint
from phasen_sb.cli import main
from phasen_sb.data.sample_corpus import sample_corpus
from phasen_sb.errors import UserError
from phasen_sb.export.card import write_card
from phasen_sb.export.graph import export_onnx
from phasen_sb.inference.enhancer import Enhancer
from phasen_sb.models.loading import read_run
from phasen_sb.training.averaging import WeightAverage
from phasen_sb.training.checkpoints import AtomicCheckpointer

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "fixtures"
RECIPE = """\
sample_rate: 16000
data_folder: /private/VoiceBank
window: &window !name:phasen_sb.sqrt_hann_window
front_end_only_here: &stft !new:speechbrain.processing.features.STFT
  {sample_rate: 16000, win_length: 16, hop_length: 8, n_fft: 256,
   window_fn: *window}
istft: &istft !new:speechbrain.processing.features.ISTFT
  {sample_rate: 16000, win_length: 16, hop_length: 8, n_fft: 256,
   window_fn: *window}
network: &network !new:phasen_sb.PHASEN
  n_fft: 256
  amplitude_channels: 3
  phase_channels: 3
  blocks: 2
  recurrent_units: 6
  dense_units: 8
  attention_channels: 1
enhancer: &enhancer !new:phasen_sb.PhasenEnhancer
  {stft: *stft, istft: *istft, network: *network}
modules:
  enhancer: *enhancer
"""


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """What recipes/train.py leaves, with the best of two epochs first."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("results") / "1234"
    folder.mkdir()
    description = folder / "hyperparams.yaml"
    description.write_text(RECIPE)
    enhancer = load_hyperpyyaml(RECIPE)["modules"]["enhancer"]
    averaged = WeightAverage(enhancer, 0.0)
    saver = AtomicCheckpointer(
        folder / "save", {"enhancer": enhancer, "averaged": averaged}
    )
    for epoch, score in ((1, 2.5), (2, 2.1)):
        for tensor in enhancer.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1.1)
        averaged.update_parameters(enhancer)
        meta = {"pesq_wb": score, "epoch": epoch, "valid_pesq_wb": score}
        saver.save_checkpoint(meta=meta)
        if epoch == 1:
            torch.save(averaged.module.state_dict(), folder / "best.pt")
    results = {
        "epoch": 1,
        "command": "python train.py --data_folder /private/VB --a=/private/b/",
        "test": {
            "noisy": {"pesq_wb": 1.97, "utterances": 824},
            "enhanced": {"pesq_wb": 2.99, "utterances": 824},
        },
    }
    (folder / "results.json").write_text(json.dumps(results))
    return folder


@pytest.fixture(scope="module")
def exported(run_folder):
    folder = run_folder.parent / "my_model"
    assert main(["export", str(run_folder), str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def trained(run_folder):
    """The training's own object with the weights that were best."""
    hparams = load_hyperpyyaml((run_folder / "hyperparams.yaml").read_text())
    enhancer = hparams["modules"]["enhancer"]
    enhancer.load_state_dict(torch.load(run_folder / "best.pt"))
    return enhancer.eval()


@pytest.fixture(scope="module")
def speech():
    path = sample_corpus() / "noisy_testset_wav_16k" / "p232_001.flac"
    return sf.read(path, dtype="float32")[0]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


ALONE = """
import socket, sys
def refuse(*args, **kwargs):
    raise OSError("the network was used")
socket.socket.connect = socket.getaddrinfo = refuse
import numpy, torch
from speechbrain.inference.enhancement import WaveformEnhancement
enhancer = WaveformEnhancement.from_hparams(source=sys.argv[1])
noisy = torch.from_numpy(numpy.load(sys.argv[2]))[None]
numpy.save(sys.argv[3], enhancer.enhance_batch(noisy)[0].cpu().numpy())
"""


def test_speechbrain_loads_the_export_alone_and_gives_the_same(
    exported, trained, speech, tmp_path
):
    np.save(tmp_path / "noisy.npy", speech)
    subprocess.run(
        [
            *(sys.executable, "-c", ALONE, exported),
            *(tmp_path / "noisy.npy", tmp_path / "enhanced.npy"),
        ],
        check=True,
        cwd=tmp_path,
    )
    with torch.inference_mode():
        expected, _ = trained(torch.from_numpy(speech)[None])
    enhanced = np.load(tmp_path / "enhanced.npy")
    assert np.allclose(enhanced, expected[0].numpy(), atol=1e-6)
    # No links or caches beside the user's files.
    assert names(tmp_path) == ["enhanced.npy", "noisy.npy"]


def test_a_run_can_be_used_without_export(run_folder, exported):
    one = Enhancer.from_pretrained(run_folder, "cpu", "fp32")
    two = Enhancer.from_pretrained(exported, "cpu", "fp32")
    wave = np.random.default_rng(0).standard_normal(4000)
    assert np.array_equal(one.enhance(wave, 16000), two.enhance(wave, 16000))


def test_card_has_front_matter_scores_and_no_private_paths(exported):
    text = (exported / "README.md").read_text()
    front = YAML(typ="safe").load(text.split("---")[1])
    assert front["library_name"] == "speechbrain"
    metric = front["model-index"][0]["results"][0]["metrics"][0]
    assert (metric["type"], metric["value"]) == ("pesq_wb", 2.99)
    assert "|PESQ(wideband)|1.970|2.990|" in text.replace(" ", "")
    assert "824 utterances" in text and "VoiceBank" in text
    assert "/private" not in text + (exported / "hyperparams.yaml").read_text()
    command = json.loads((exported / "results.json").read_text())["command"]
    assert command == "python train.py --data_folder VB --a=b"


def test_card_marks_what_is_metric_optimised(run_folder):
    model = read_run(run_folder)
    assert "Metric-optimised" not in write_card(model, "mine")
    model.results["losses"] = ["compressed_complex_loss", "pesq_loss"]
    assert "Metric-optimised: PESQ had a share" in write_card(model, "mine")


def test_card_tells_whether_the_model_is_causal(run_folder):
    model = read_run(run_folder)
    assert "Not causal" in write_card(model, "mine")
    live = write_card(model, "mine", latency=64.0)
    assert "Not causal" not in live and "live sound, 64 ms" in live


def test_scores_of_other_weights_are_left_out(run_folder, tmp_path):
    results = run_folder / "results.json"
    kept = results.read_text()
    results.write_text(kept.replace('"epoch": 1', '"epoch": 2'))
    try:
        assert read_run(run_folder).results == {
            "epoch": 1,
            "valid": {"enhanced": {"pesq_wb": 2.5}},
        }
    finally:
        results.write_text(kept)


def test_an_export_is_not_overwritten_unless_told(
    run_folder, exported, tmp_path, capsys
):
    arguments = ["export", str(run_folder)]
    assert main([*arguments, str(exported)]) == 1
    assert "holds an exported model already" in capsys.readouterr().err
    (tmp_path / "thesis.tex").touch()
    assert main([*arguments, str(tmp_path), "--overwrite"]) == 1
    assert "exists and is not an exported model" in capsys.readouterr().err
    assert main([*arguments, "/proc/model"]) == 1
    assert "/proc/model cannot be written" in capsys.readouterr().err
    # An export is a source, too, and gives itself.
    again = tmp_path / "again"
    assert main(["export", str(exported), str(again)]) == 0
    for name in names(exported):
        if name != "model.ckpt":
            assert (again / name).read_text() == (exported / name).read_text()


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (lambda s: s.popitem(), "lacks 'network"),
        (lambda s: s.update(extra=torch.ones(1)), "beyond .* 'extra'"),
        (
            lambda s: s.update({"network.phase_head.bias": torch.ones(7)}),
            r"phase_head.bias' as \[7\], the network needs \[2\]",
        ),
        (
            lambda s: s["network.phase_head.bias"].fill_(float("nan")),
            "'network.phase_head.bias' has 2 values that are NaN",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    exported, tmp_path, damage, sentence
):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("hyperparams.yaml", "README.md"):
        (folder / name).write_text((exported / name).read_text())
    state = torch.load(exported / "model.ckpt")
    damage(state)
    torch.save(state, folder / "model.ckpt")
    with pytest.raises(UserError, match=sentence):
        Enhancer.from_pretrained(folder, "cpu")
    assert main(["export", str(folder), str(tmp_path / "out")]) == 1
    assert names(tmp_path) == ["model"]


def test_folders_without_a_model_get_a_sentence(tmp_path):
    for folder, sentence in (
        (tmp_path / "typo", "There is no folder"),
        (tmp_path, "neither an exported model nor a training run"),
    ):
        with pytest.raises(UserError, match=sentence):
            Enhancer.from_pretrained(folder)
    (tmp_path / "save").mkdir()
    with pytest.raises(UserError, match="holds no checkpoint that was valid"):
        Enhancer.from_pretrained(tmp_path)


def test_bad_devices_and_precisions_get_a_sentence(exported):
    for options, sentence in (
        ({"device": "gpu"}, "device 'gpu' cannot be used"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used"),
        ({"precision": "fp8"}, "precision is 'fp8'; it must be"),
        ({"chunk_seconds": 0}, "chunk_seconds is 0"),
    ):
        with pytest.raises(UserError, match=sentence):
            Enhancer.from_pretrained(exported, **options)


def test_reference_checkpoints_convert(tmp_path, capsys):
    with np.load(DATA / "small.npz") as arrays:
        state = {
            f"module.{key[3:]}": torch.tensor(arrays[key])
            for key in arrays.files
            if key.startswith("sd/")
        }
    checkpoint = tmp_path / "reference.pth"
    torch.save({"state_dict": state}, checkpoint)
    out = tmp_path / "converted"
    assert main(["convert", str(checkpoint), str(out)]) == 0
    loaded = Enhancer.from_pretrained(out, "cpu", "fp32")
    wave = torch.randn(1, 999)
    with torch.inference_mode():
        expected, _ = load_reference_checkpoint(checkpoint)(wave)
        assert torch.allclose(loaded.enhance_batch(wave), expected, atol=1e-5)
    torch.save({"fc.weight": torch.ones(1)}, checkpoint)
    assert main(["convert", str(checkpoint), str(tmp_path / "b")]) == 1
    assert "is not a checkpoint of the reference" in capsys.readouterr().err


def test_torch_export_takes_any_length(exported, trained, tmp_path):
    out = tmp_path / "graph"
    arguments = ["export", str(exported), str(out), "--torch-export"]
    assert main(arguments) == 0
    program = torch.export.load(out / "model.pt2").module()
    for frames in (3, 111):
        noisy = torch.randn(2, frames, 129, 2)
        with torch.inference_mode():
            expected = trained.network(noisy).spectrogram
            assert torch.allclose(program(noisy), expected, atol=1e-4)


@pytest.mark.parametrize("recurrent", ["lstm", "gru"])
def test_onnx_with_bands_takes_any_length(recurrent, tmp_path):
    """Frames are the batch of the recurrence over bands."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    enhancer = small_enhancer(blocks=1, band_bins=4, recurrent=recurrent)
    assert export_onnx(enhancer, tmp_path / "model.onnx") < 1e-4


def test_onnx_example_enhances_a_file_as_we_do(
    exported, trained, speech, tmp_path, capsys
):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    out = tmp_path / "graph"
    assert main(["export", str(exported), str(out), "--onnx"]) == 0
    assert "model.onnx; it agrees with PyTorch to" in capsys.readouterr().out
    noisy, clean = tmp_path / "noisy.wav", tmp_path / "clean.wav"
    sf.write(noisy, speech, 16000)
    subprocess.run(
        [
            *(sys.executable, ROOT / "examples" / "enhance_onnx.py"),
            *(out / "model.onnx", noisy, clean),
        ],
        check=True,
    )
    with wave_module.open(str(clean)) as file:
        assert file.getnframes() == len(speech)
    enhancer = Enhancer.from_pretrained(exported, "cpu", "fp32")
    expected = enhancer.enhance(sf.read(noisy)[0], 16000)
    assert np.abs(sf.read(clean)[0] - expected).max() < 2 / 32768


def test_half_is_half_as_large_and_nearly_the_same(
    run_folder, exported, tmp_path, speech
):
    half = tmp_path / "half"
    assert main(["export", "--half", str(run_folder), str(half)]) == 0
    sizes = [(f / "model.ckpt").stat().st_size for f in (half, exported)]
    assert sizes[0] < 0.6 * sizes[1]
    one, two = (
        Enhancer.from_pretrained(folder, "cpu", "fp32").enhance(speech, 16000)
        for folder in (half, exported)
    )
    assert 0 < np.abs(one - two).max() < 1e-2 * np.abs(two).max()
    assert "before rounding to fp16" in (half / "README.md").read_text()
