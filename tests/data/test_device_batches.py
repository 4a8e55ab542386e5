"""Batches of a corpus on a device are what a loader's processes would make."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import soundfile as sf
import torch
from speechbrain.dataio.dataloader import make_dataloader
from speechbrain.utils.checkpoints import Checkpointer
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensorMode,
)

from phasen_sb.augmentation import AugmentedBatches, Coloration, Hiss, Remix
from phasen_sb.data.corpus_placement import place_corpus
from phasen_sb.data.datasets import PairDataset, RandomDraw
from phasen_sb.data.device_batches import DeviceBatches, Noises, draw_integers
from phasen_sb.data.device_corpus import DeviceCorpus
from phasen_sb.data.mixing import MixLoader, OtherNoiseLoader, PairLoader

CROP = 100
LENGTHS = {"long": 400, "extra": 150, "short": 60}
NOISES = (250, 100, 70, 30)  # samples; the last two are repeated


@pytest.fixture
def make(tmp_path):
    """Makes training pairs of a kind, with ``.epoch`` to set."""
    random = np.random.default_rng(1)
    waves = {}

    def write(name, wave):
        path = str(tmp_path / f"{name}.wav")
        sf.write(path, wave, 16000, subtype="PCM_16")
        waves[path] = sf.read(path, dtype="float32")[0]
        return path

    entries = {}
    for name, count in LENGTHS.items():
        clean = 0.1 * random.standard_normal(count)
        path = write(name, clean)
        noisy = path
        if name != "extra":
            noise = 0.01 * random.standard_normal(count)
            noisy = write(f"{name} noisy", clean + noise)
        entries[name] = {
            "length": count / 16000,
            "clean_wav": path,
            "noisy_wav": noisy,
        }
    noises = [
        (write(f"noise {n}", 0.05 * random.standard_normal(n)), n)
        for n in NOISES
    ]

    def make(kind, on_device=True, crop=CROP):
        counter = SimpleNamespace(current=0)
        takes = ["id", "length", "noisy_wav", "clean_wav"]
        draw = RandomDraw(7, counter)
        if kind is PairLoader:
            load = PairLoader(16000, crop, draw)
        else:
            load = kind(16000, crop, draw, noises, -5.0, 10.0)
        if kind is MixLoader:
            takes.remove("noisy_wav")
        dataset = PairDataset(entries, load, takes, on_device)
        dataset.epoch, dataset.waves = counter, waves
        return dataset

    return make


def place(dataset, **options):
    return place_corpus(dataset, "cpu", {"batch_size": 3} | options)


def find(part, waves):
    """Finds which wave, repeated, a part is of, at which start and gain."""
    best = (0.0, None, None)
    for number, wave in enumerate(waves):
        rows = np.resize(wave, len(wave) + len(part) - 1)
        rows = np.lib.stride_tricks.sliding_window_view(rows, len(part))
        likeness = rows @ part / np.linalg.norm(rows, axis=1)
        best = max(best, (likeness.max(), number, likeness.argmax()))
    likeness, number, start = best
    return number, start, likeness / np.linalg.norm(part)


def describe(noisy, clean, waves):
    """What was drawn: starts, which noise (-1: the pair's own), its SNR."""
    speech = [wave for path, wave in waves.items() if path.endswith("g.wav")]
    start = find(clean, speech)[1]
    noise = noisy - clean
    others = [wave for path, wave in waves.items() if "noise " in path]
    number, at, likeness = find(noise, others)
    if likeness < 0.99:
        return start, -1, np.nan, np.nan
    return start, number, at, 10 * np.log10((clean**2).sum() / (noise**2).sum())


@pytest.mark.parametrize("kind", [MixLoader, OtherNoiseLoader])
def test_draws_have_the_loaders_distribution(kind, make):
    dataset = make(kind)
    batches, _ = place(dataset)
    found = {"loader": [], "device": []}
    for epoch in range(300):
        dataset.epoch.current = epoch
        item = dataset[0]
        pair = item["noisy_sig"].numpy(), item["clean_sig"].numpy()
        found["loader"].append(describe(*pair, dataset.waves))
        batch = batches.collate([0, 1, 2])
        pair = batch.noisy_sig.data[0].numpy(), batch.clean_sig.data[0].numpy()
        found["device"].append(describe(*pair, dataset.waves))
    loader, device = (np.array(rows) for rows in found.values())
    assert len(device) == 300 and len({*device[:, 0]}) > 150
    kinds = range(-1 if kind is OtherNoiseLoader else 0, len(NOISES))
    counts = [
        [(rows[:, 1] == k).sum() for k in kinds] for rows in (loader, device)
    ]
    assert np.sum(counts, 1).tolist() == [300, 300]
    chances = [scipy.stats.chi2_contingency(counts).pvalue]
    chances.append(scipy.stats.ks_2samp(loader[:, 0], device[:, 0]).pvalue)
    for number in range(len(NOISES)):
        here = [rows[rows[:, 1] == number] for rows in (loader, device)]
        for column in (2, 3):
            samples = [rows[:, column] for rows in here]
            chances.append(scipy.stats.ks_2samp(*samples).pvalue)
    assert min(chances) > 0.01
    snrs = device[:, 3][device[:, 1] >= 0]
    assert -5.1 < snrs.min() < -4.5 and 9.5 < snrs.max() < 10.1


def test_crops_are_parts_of_both_files(make):
    dataset = make(PairLoader)
    batches, _ = place(dataset)
    batch = batches.collate([2, 0, 1])
    assert batch.id == ["short", "long", "extra"]
    torch.testing.assert_close(
        batch.noisy_sig.lengths, torch.tensor([0.6, 1.0, 1.0])
    )
    waves = dataset.waves
    for row, name in enumerate(batch.id):
        entry = dataset.data[name]
        clean, noisy = waves[entry["clean_wav"]], waves[entry["noisy_wav"]]
        count = min(len(clean), CROP)
        _, start, _ = find(batch.clean_sig.data[row, :count].numpy(), [clean])
        for key, wave in (("clean_sig", clean), ("noisy_sig", noisy)):
            found = batch.__dict__[key].data[row].numpy()
            assert (found[:count] == wave[start : start + count]).all()
            assert not found[count:].any()


def test_pairs_without_noise_always_get_some(make):
    dataset = make(OtherNoiseLoader)
    batches, _ = place(dataset)
    for epoch in range(20):
        dataset.epoch.current = epoch
        batch = batches.collate([1])
        assert batch.id[0] == "extra"
        noise = batch.noisy_sig.data[0] - batch.clean_sig.data[0]
        assert noise.abs().max() > 0.01


def test_whole_utterances_where_nothing_is_cropped(make):
    dataset = make(PairLoader, crop=None)
    batches, _ = place(dataset)
    batch = batches.collate([1, 2])  # not filled up: no shape is fixed
    assert batch.id == ["extra", "short"]
    assert batch.clean_sig.data.shape == (2, 150)
    for row, name in enumerate(batch.id):
        wave = dataset.waves[dataset.data[name]["clean_wav"]]
        assert (batch.clean_sig.data[row, : len(wave)].numpy() == wave).all()


def loader_of(dataset, folder, **options):
    """A loader of the Brain's kind on the device's corpus, and its saver."""
    batches, options = place(dataset, **options)
    options["collate_fn"] = AugmentedBatches(
        Remix(0, 20, second_probability=0.5),
        1,
        dataset.epoch,
        options["collate_fn"],
    )
    loader = make_dataloader(batches, shuffle=True, **options)
    return loader, Checkpointer(folder, {"loader": loader})


def test_last_batch_is_filled_up(make, tmp_path):
    dataset = make(PairLoader)
    loader, _ = loader_of(dataset, tmp_path, batch_size=2)
    plain = make_dataloader(make(PairLoader, False), batch_size=2)
    assert len(loader) == len(plain) == 2
    for epoch in range(5):
        dataset.epoch.current = loader.sampler.epoch = epoch
        batches = list(loader)
        assert [batch.noisy_sig.data.shape for batch in batches] == 2 * [
            (2, CROP)
        ]
        first = [name for batch in batches for name in batch.id][:3]
        assert sorted(first) == sorted(LENGTHS)


@pytest.mark.parametrize("kind", [MixLoader, OtherNoiseLoader])
def test_resumed_within_an_epoch_it_gives_the_same_batches(
    kind, make, tmp_path
):
    dataset = make(kind)
    loader, saver = loader_of(dataset, tmp_path, batch_size=1)
    dataset.epoch.current = loader.sampler.epoch = 3
    straight = []
    for number, batch in enumerate(loader):
        straight.append(batch)
        if number == 0:
            saver.save_checkpoint(end_of_epoch=False)
    other = make(kind)
    loader, saver = loader_of(other, tmp_path, batch_size=1)
    other.epoch.current = loader.sampler.epoch = 3
    saver.recover_if_possible()
    resumed = list(loader)
    assert len(resumed) == 2
    for one, same in zip(straight[1:], resumed, strict=True):
        assert one.id == same.id
        assert torch.equal(one.noisy_sig.data, same.noisy_sig.data)
    other.epoch.current = 4
    for one, later in zip(straight, loader, strict=True):
        if one.id == later.id:
            assert not torch.equal(one.noisy_sig.data, later.noisy_sig.data)


class OnDevice(torch.Generator):
    """Draws on a GPU that is not there, under FakeTensorMode."""

    device = torch.device("cuda")


def test_nothing_is_read_from_the_device(monkeypatch):
    def draw(text, device="cpu"):
        return OnDevice() if device != "cpu" else torch.Generator()

    monkeypatch.setattr("phasen_sb.augmentation.batches.seeded_generator", draw)
    effects = [Coloration(0.5), Hiss(0.5)]
    remix = Remix(0, 20, 0.5, 0.5, 0.5, effects[:1], effects)
    with FakeTensorMode(allow_non_fake_inputs=True):
        samples = torch.zeros(2000, dtype=torch.int16, device="cuda")
        batches = DeviceBatches(
            DeviceCorpus(samples, [400, 600, 60, 60, 880]),
            ["a", "b"],
            [0, 2],
            draw,
            noisy=[1, 3],
            noises=Noises([3, 4], -5.0, 10.0, 0.5),
            crop=CROP,
            batch_size=2,
        )
        collate = AugmentedBatches(remix, 1, collate=batches.collate)
        for batch in (batches.collate([0, 1]), collate([0, 1])):
            for signals, lengths in (batch.noisy_sig, batch.clean_sig):
                assert signals.device.type == "cuda"
                assert signals.shape == (2, CROP)
                assert lengths.device.type == "cpu"
                with pytest.raises(DataDependentOutputException):
                    signals.any().item()
            assert batch.to("cuda").noisy_sig.lengths.device.type == "cuda"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_makes_batches_without_synchronising(make):
    dataset = make(OtherNoiseLoader)
    batches, _ = place_corpus(dataset, "cuda", {"batch_size": 3})
    remix = Remix(0, 20, 0.5, 0.5, 0.5, [Coloration(0.5)], [Hiss(0.5)])
    collate = AugmentedBatches(remix, 1, dataset.epoch, batches.collate)
    first = collate([0, 2, 1])
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = collate([0, 2, 1])
        dataset.epoch.current = 1
        later = collate([0, 2, 1])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert again.noisy_sig.data.device.type == "cuda"
    assert torch.equal(first.noisy_sig.data, again.noisy_sig.data)
    assert not torch.equal(first.noisy_sig.data, later.noisy_sig.data)
    entry = dataset.data["short"]  # the file itself, where nothing is added
    wave = torch.from_numpy(dataset.waves[entry["clean_wav"]])
    short = batches.corpus.cut(batches.clean[2:], batches.clean[:1] * 0, 60)
    assert torch.equal(short.cpu()[0], wave)


def test_integers_are_uniform_below_their_limits():
    limits = torch.tensor([1, 2, 3, 2**40]).repeat(3000, 1)
    drawn = draw_integers(limits, torch.Generator().manual_seed(0))
    assert drawn.min() == 0 and bool((drawn < limits).all())
    for column, limit in ((1, 2), (2, 3)):
        counts = drawn[:, column].bincount(minlength=limit)
        assert (counts / 3000 - 1 / limit).abs().max() < 0.03
    assert (drawn[:, 3].double().mean() / 2**40 - 0.5).abs() < 0.02
