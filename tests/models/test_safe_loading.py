"""A model is data: whatever its folder holds, nothing of it is executed."""

import os
import pickle
import re
import shutil
import time
import zipfile
from pathlib import Path

import pytest
import torch
from helpers.small_model import phasen, write_small_model

import phasen_sb
from phasen_sb import Enhancer, PhasenEnhancer
from phasen_sb.configuration.recipe import Recipe
from phasen_sb.errors import UserError
from phasen_sb.models.description import read_description
from phasen_sb.models.loading import DEFAULT_MODEL, read_model
from phasen_sb.models.safe_description import CLASSES, sketch
from phasen_sb.utils.file_names import DESCRIPTION, WEIGHTS

RUN = Path(__file__).parents[1] / "fixtures" / "earlier" / "run"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = write_small_model(tmp_path_factory.mktemp("models") / "small")
    Enhancer.from_pretrained(folder)  # imports
    return folder


@pytest.fixture
def folder(small, tmp_path):
    return Path(shutil.copytree(small, tmp_path / "model"))


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


def add(folder, text, old=""):
    """Puts text in place of another, or at the end of the description."""
    path = folder / DESCRIPTION
    before = path.read_text()
    assert old in before
    path.write_text(
        before.replace(old, text, 1) if old else f"{before}{text}\n"
    )


def refuse(folder, pattern, is_refused=True):
    started = time.perf_counter()
    for load in (Enhancer, PhasenEnhancer):
        with pytest.raises(UserError, match=pattern) as caught:
            load.from_pretrained(folder)
        sentence = str(caught.value)
        assert str(folder) in sentence
        assert "\n" not in sentence and len(sentence) < 600
        assert ("--trust" in sentence) == is_refused
    # In a second, with room for a busy machine.
    assert (time.perf_counter() - started) / 2 < 2


ARGUMENTS = "  network: !new:phasen_sb.PHASEN\n"


@pytest.mark.parametrize(
    "text, old",
    [
        ("evil: !apply:os.mkdir [CANARY]", ""),
        ("enhance_model: !apply:os.mkdir [CANARY]\nold:", "enhance_model:"),
        ("evil: !applyref:os.mkdir [CANARY]", ""),
        ("__evil: !new:subprocess.Popen [[touch, CANARY]]", ""),
        ("  network: !new:subprocess.Popen\n    args: [x]\n", ARGUMENTS),
        ("window_fn: !name:os.mkdir {path: CANARY}\n    n_fft:", "n_fft:"),
        ("window_fn: !name:phasen_sb.prepare_data\n    n_fft:", "n_fft:"),
        ("evil: !name:functools.partial [!name:os.mkdir, CANARY]", ""),
        ("evil: !module:this", ""),
        ("evil: !include:other.yaml", ""),
        ("evil: !!python/object/apply:os.mkdir [CANARY]", ""),
        ("evil: !!python/name:os.mkdir", ""),
        ("%TAG !e! !apply:\n---\nx: !e!os.mkdir [CANARY]\n", "# Loaded"),
        ("evil: !<!apply:os.mkdir> [CANARY]", ""),
        ("evil: ../../secret", ""),
        ("evil: !new:phasen_sb.Enhancer {run_opts: {device: x}}", ""),
        ("evil: !new:phasen_sb.AtomicCheckpointer [CANARY]", ""),
    ],
)
def test_a_description_that_could_run_code_is_refused(
    folder, canary, text, old
):
    (folder / "other.yaml").write_text(f"x: !apply:os.mkdir [{canary}]\n")
    add(folder, text.replace("CANARY", str(canary)), old)
    refuse(folder, r"hyperparams.yaml, line \d+, has ")
    assert not canary.exists()


@pytest.mark.parametrize(
    "text, pattern",
    [
        # HyperPyYAML reads what looks like a tuple with PyYAML's full loader.
        ("(!!python/object/apply:os.mkdir [CANARY])", "cannot be built"),
        ('"(!!python/object/apply:os.mkdir [CANARY])"', "cannot be built"),
        ("!ref <sample_rate> ** 9 ** 9 ** 9", "reference .* is not valid"),
        ("!ref <enhance_model.__class__>", "reference .* is not valid"),
        ("!ref <sample_rate>/../x", "reference .* is not valid"),
        ("!ref <text> * 99999", "is no number"),
        ("!ref <enhance_model>", "too large a tree"),
        ("99999999999999999999", "a number above"),
    ],
)
def test_values_compute_nothing(folder, canary, text, pattern):
    add(folder, "text: x")
    text = text.replace("CANARY", str(canary))
    add(folder, f"n_fft: {text}", "n_fft: 256")
    refuse(folder, pattern, is_refused=False)
    assert not canary.exists()


def bomb(link):
    lists = ["b0: &b0 [x, x, x, x, x, x, x, x, x]"]
    for i in range(12):
        parts = ", ".join([link.format(i)] * 9)
        lists.append(f"b{i + 1}: &b{i + 1} [{parts}]")
    return "\n".join(lists)


@pytest.mark.parametrize(
    "text, pattern, is_refused",
    [
        (bomb("*b{}"), "too large a tree", False),
        (bomb("!ref <b{}>"), "too large a tree", False),
        ("b12: " + "[" * 5000 + "]" * 5000, "nested more than", True),
        ("b12: [", "describes no enhancer", False),
        ("b12: !ref <b12>", "too large a tree", False),
        ("b12: &a [" + "*a, " * 300 + "x]", "more than 200 aliases", True),
        ("b12: " + "x" * 100_000, "larger than", True),
    ],
)
def test_a_bomb_is_refused(folder, text, pattern, is_refused):
    add(folder, text)
    add(folder, "n_fft: !ref <b12>", "n_fft: 256")
    refuse(folder, pattern, is_refused)


@pytest.mark.parametrize(
    "change",
    ["blocks: 9999999", "dense_units: 9999999", "amplitude_channels: 99999"],
)
def test_a_gigantic_network_is_refused(folder, change):
    name = change.partition(":")[0]
    value = re.search(rf"{name}: \d+", (folder / DESCRIPTION).read_text())[0]
    add(folder, change, value)
    with pytest.raises(UserError, match="gigantic network|more than 2 GB"):
        Enhancer.from_pretrained(folder)


@pytest.mark.parametrize("name", [DESCRIPTION, WEIGHTS, "README.md"])
def test_links_stay_in_the_folder(folder, tmp_path, name):
    inside = folder / f"real_{name}"
    (folder / name).rename(inside)
    (folder / name).symlink_to(inside.name)
    assert Enhancer.from_pretrained(folder).sample_rate == 16000
    outside = inside.rename(tmp_path / name)
    (folder / name).unlink()
    (folder / name).symlink_to(f"../{name}")
    refuse(folder, f"{name} is a link to {outside}")
    # Not the hub's cache, whatever the folder around it is called.
    other = tmp_path / "snapshots" / "model"
    shutil.copytree(folder, other, symlinks=True)
    (other / name).unlink()
    (other / name).symlink_to(f"../../{name}")
    refuse(other, f"{name} is a link to {outside}")
    assert Enhancer.from_pretrained(folder, trust=True).sample_rate == 16000


def test_the_hubs_cache_has_links_into_its_repository(folder, tmp_path):
    repository = tmp_path / "models--me--my_model"
    blobs = repository / "blobs"
    snapshot = repository / "snapshots" / "1234"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        path.rename(blobs / path.name)
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    (snapshot / "custom.py").write_text("raise SystemExit")
    assert Enhancer.from_pretrained(snapshot).sample_rate == 16000


def test_only_files_are_read(folder):
    os.mkfifo(folder / "results.json2")
    (folder / "results.json2").replace(folder / "results.json")
    refuse(folder, "results.json is not a file", is_refused=False)


class Evil:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def test_pickled_weights_are_refused(folder, canary):
    torch.save({"weight": Evil(canary)}, folder / WEIGHTS)
    refuse(folder, "model.ckpt .*pickled objects")
    (folder / WEIGHTS).write_bytes(pickle.dumps(Evil(canary)))
    refuse(folder, "model.ckpt cannot be read as weights")
    torch.save(
        Evil(canary), folder / WEIGHTS, _use_new_zipfile_serialization=False
    )
    refuse(folder, "model.ckpt cannot be read as weights")
    assert not canary.exists()


def replace_list(path, content):
    """Replaces the pickle in a file of weights."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/byteorder", b"little")


def test_a_list_of_tensors_is_no_bomb(folder):
    long = b"\x80\x02cbuiltins\nbytearray\n\x8a\x06"
    long += (2**40).to_bytes(6, "little") + b"\x85R."
    replace_list(folder / WEIGHTS, long)
    refuse(folder, "pickled objects")
    # A list of a list twice of a list twice ...
    lists = []
    for _ in range(60):
        lists = [lists, lists]
    replace_list(folder / WEIGHTS, pickle.dumps({"weight": lists}, 2))
    refuse(folder, "'weight', which is not a tensor", is_refused=False)


def enlarge(path, compress=False):
    """Makes the first tensor's header claim 2^40 values."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(
        path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    ) as archive:
        for name, content in parts.items():
            if not compress and name.endswith("data.pkl"):
                assert content.count(b"M\xd2\x04") == 2  # 1234: storage, shape
                big = b"\x8a\x06" + (2**40).to_bytes(6, "little")
                content = content.replace(b"M\xd2\x04", big)
            archive.writestr(name, content)


def test_sizes_are_checked_before_memory_is_taken(folder):
    torch.save({"weight": torch.zeros(1234)}, folder / WEIGHTS)
    enlarge(folder / WEIGHTS)
    refuse(folder, r"claims a tensor of size \[1099511627776\]")
    torch.save({"weight": torch.zeros(10_000_000)}, folder / WEIGHTS)
    enlarge(folder / WEIGHTS, compress=True)
    refuse(folder, "claim to be larger than the file")
    torch.save({"weight": torch.zeros(1).expand(10**9)}, folder / WEIGHTS)
    refuse(folder, "claims a tensor of size")


def test_wrong_sizes_are_refused(folder):
    state = torch.load(folder / WEIGHTS)
    name = next(iter(state))
    torch.save(state | {name: torch.zeros(3, 3)}, folder / WEIGHTS)
    refuse(folder, re.escape(f"{name!r} as [3, 3]"), is_refused=False)
    torch.save(state | {name: 3}, folder / WEIGHTS)
    refuse(folder, "which is not a tensor", is_refused=False)


@pytest.mark.parametrize("rate", ["0", "1000000000000"])
def test_a_rate_that_no_recording_has_is_refused(folder, rate):
    path = folder / DESCRIPTION
    path.write_text(path.read_text().replace("16000", rate, 1))
    refuse(folder, f"its sample_rate is {rate}", is_refused=False)


def test_a_run_is_as_safe_as_an_export(tmp_path, canary):
    run = Path(shutil.copytree(RUN, tmp_path / "run"))
    assert PhasenEnhancer.from_pretrained(run).normalize
    text = (run / DESCRIPTION).read_text()
    # Objects that nobody builds may be of any class.
    add(run, f"augmentation: !new:os.mkdir [{canary}]\nold:", "augmentation:")
    assert PhasenEnhancer.from_pretrained(run).normalize
    for evil in ("!apply:os.mkdir", "!applyref:os.mkdir"):
        (run / DESCRIPTION).write_text(f"{text}evil: {evil} [{canary}]\n")
        with pytest.raises(UserError, match=f"line 2.., has {evil}.*--trust"):
            read_model(run)
    (run / DESCRIPTION).write_text(text.replace("phasen_sb.PHASEN", "os.mkdir"))
    # Weights to start from are read; what would be built of them is refused.
    assert read_model(run).state
    refuse(run, "line .*has !new:os.mkdir")
    assert not canary.exists()


def test_trust_loads_what_is_refused(folder, canary, tmp_path):
    add(folder, f"note: !apply:os.mkdir [{canary}]")
    with pytest.raises(UserError, match="--trust"):
        Enhancer.from_pretrained(folder)
    assert Enhancer.from_pretrained(folder, trust=True).sample_rate == 16000
    add(
        folder,
        "  network: !new:phasen_sb.LogMagnitudeNetwork {model: "
        f"!apply:os.mkdir [{canary}]}}\n  old:\n",
        ARGUMENTS,
    )
    with pytest.raises(UserError):  # no network, but it was called
        Enhancer.from_pretrained(folder, trust=True)
    assert canary.exists()
    done = phasen("enhance", "x.wav", "--model", folder, cwd=tmp_path)
    assert done.returncode == 1


@pytest.mark.parametrize(
    "recipe, changes",
    [
        ("phasen", ""),
        ("phasen_plus", ""),
        ("phasen_live", ""),
        ("baselines/enhance_resnet", "channel_counts: [4, 4], dense_nodes: 8"),
        ("baselines/cnn_transformer_se", "base_channels: 64"),
        ("baselines/sepformer", "layers: 1, encoder_channels: 32"),
    ],
)
def test_what_our_recipes_train_loads(recipe, changes, tmp_path):
    recipe = Recipe.read(
        f"hparams/{recipe}.yaml", f"{{output_folder: {tmp_path}, {changes}}}"
    )
    (tmp_path / "save").mkdir()
    recipe.write(tmp_path)
    description = read_description(tmp_path / DESCRIPTION)
    network = description.build("test")
    plan = sketch(description.enhancer)
    trusted = read_description(tmp_path / DESCRIPTION, trust=True)
    shapes = [
        {name: value.shape for name, value in module.state_dict().items()}
        for module in (trusted.build("test"), network, plan)
    ]
    assert shapes[0] == shapes[1] == shapes[2]


def test_the_list_names_what_is_there():
    for name in CLASSES:
        module, _, attribute = name.rpartition(".")
        if module == "phasen_sb":
            assert issubclass(getattr(phasen_sb, attribute), torch.nn.Module)
    assert Enhancer.from_pretrained(DEFAULT_MODEL).sample_rate == 16000
