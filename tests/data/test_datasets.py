"""What is drawn depends on seed, epoch and utterance, and nothing else."""

import itertools
import pickle
import shutil

import numpy as np
import pytest
import soundfile as sf
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import make_dataloader
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.epoch_loop import EpochCounter

from phasen_sb.data import (
    make_datasets,
    mix_at_snr,
    prepare_data,
    sample_corpus,
)
from phasen_sb.errors import UserError

CLEAN = sample_corpus() / "clean_trainset_28spk_wav_16k"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The sample corpus as pairs, and its speech to be mixed with tones."""
    root = tmp_path_factory.mktemp("data")
    prepare_data(root / "pairs")
    (root / "noise").mkdir()
    for number, seconds in enumerate([0.3, 0.5, 1, 4, 5, 6]):
        noise = np.random.default_rng(number).uniform(
            -0.3, 0.3, round(16000 * seconds)
        )
        sf.write(root / "noise" / f"{number}.wav", noise, 16000)
    prepare_data(
        root / "mix",
        clean_folder=CLEAN,
        noise_folder=root / "noise",
        snr_low=-5,
        snr_high=10,
    )
    return {"pairs": root / "pairs", "mix": root / "mix"}


def epoch(number):
    counter = EpochCounter(100)
    counter.current = number
    return counter


def draw(folder, split="train", workers=0, **options):
    """Loads a split through SpeechBrain's loader: id -> (noisy, clean)."""
    dataset = make_datasets(folder, crop_seconds=0.5, **options)[split]
    loader = make_dataloader(
        dataset,
        batch_size=3,
        num_workers=workers,
        shuffle=workers == 2,  # order must not matter
    )
    items = {}
    for batch in loader:
        assert isinstance(batch, PaddedBatch)
        for name, noisy, clean in zip(
            batch.id, batch.noisy_sig.data, batch.clean_sig.data, strict=True
        ):
            items[name] = torch.stack([noisy, clean])
    return items


def equal(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("source", ["pairs", "mix"])
def test_workers_change_nothing(folders, source):
    options = {"seed": 3, "epoch_counter": epoch(2)}
    alone = draw(folders[source], **options)
    assert {item.shape for item in alone.values()} == {(2, 8000)}
    torch.manual_seed(1)  # nor does the state of the global generator
    assert equal(alone, draw(folders[source], workers=2, **options))


@pytest.mark.parametrize("source", ["pairs", "mix"])
def test_pickled_for_spawned_workers(folders, source):
    dataset = make_datasets(folders[source], epoch_counter=epoch(2))["train"]
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[4]["noisy_sig"], dataset[4]["noisy_sig"])


@pytest.mark.parametrize("source", ["pairs", "mix"])
def test_seed_and_epoch_change_training_only(folders, source):
    def all_of(split, seed, number):
        return draw(
            folders[source], split, seed=seed, epoch_counter=epoch(number)
        )

    for split, same in (("train", False), ("valid", True), ("test", True)):
        first = all_of(split, 1, 1)
        assert equal(first, all_of(split, 1, 1))
        assert equal(first, all_of(split, 1, 2)) is same
        assert equal(first, all_of(split, 2, 1)) is same


def test_loader_of_one_training_follows_the_epochs(folders, tmp_path):
    """One loader serves all epochs; a resumed counter repeats its epoch."""
    counter = EpochCounter(3)
    checkpointer = Checkpointer(tmp_path, {"counter": counter})
    dataset = make_datasets(
        folders["mix"], crop_seconds=0.5, epoch_counter=counter
    )["train"]
    loader = make_dataloader(dataset, batch_size=4, num_workers=2)
    sums = {}
    for number in counter:
        sums[number] = [batch.noisy_sig.data.sum().item() for batch in loader]
        if number == 2:
            checkpointer.save_checkpoint(end_of_epoch=False)
    assert len({*sums[1], *sums[2], *sums[3]}) == 3 * len(sums[1])

    counter.current = 0
    checkpointer.recover_if_possible()
    assert next(counter) == 2
    again = [batch.noisy_sig.data.sum().item() for batch in loader]
    assert again == sums[2]


def test_crop_is_the_same_part_of_both_files(folders):
    counter = EpochCounter(3)
    options = {"crop_seconds": 0.5, "epoch_counter": counter}
    dataset = make_datasets(folders["pairs"], **options)["train"]
    starts = []
    for item in (dataset[index] for _ in counter for index in (0, 7)):
        found = []
        for kind in ("noisy", "clean"):
            path = next(sample_corpus().glob(f"{kind}_*/{item['id']}.flac"))
            whole = torch.from_numpy(sf.read(path, dtype="float32")[0])
            crop = item[f"{kind}_sig"]
            head = (whole.unfold(0, 30, 1) == crop[:30]).all(1)
            (start,) = head.nonzero().flatten().tolist()
            assert torch.equal(whole[start : start + 8000], crop)
            found.append(start)
        assert found[0] == found[1]
        starts += found[:1]
    assert len(set(starts)) == 6


def test_whole_utterances_where_nothing_is_cropped(folders):
    for split, crop in (("train", None), ("train", 60.0), ("valid", 0.1)):
        dataset = make_datasets(folders["pairs"], crop_seconds=crop)[split]
        for item in itertools.islice(dataset, 3):
            path = next(CLEAN.glob(f"{item['id']}.flac"))
            samples, _ = sf.read(path, dtype="float32")
            assert torch.equal(item["clean_sig"], torch.from_numpy(samples))
            assert item["noisy_sig"].dtype == torch.float32


def test_mixtures_have_the_snr_asked_for(folders):
    snrs = []
    for number in range(4):
        counter = epoch(number)
        for noisy, clean in draw(
            folders["mix"], epoch_counter=counter
        ).values():
            power = clean.double().square().sum()
            snrs.append(
                10 * torch.log10(power / (noisy - clean).square().sum())
            )
    snrs = torch.stack(snrs)
    assert -5.01 < snrs.min() < -3 and 8 < snrs.max() < 10.01
    assert 0 < snrs.mean() < 5  # uniform: 2.5 on average


def test_known_mixture():
    time_axis = torch.arange(1000) / 1000
    clean = 0.1 * torch.sin(2 * torch.pi * 10 * time_axis)
    noise = 0.7 * torch.sin(2 * torch.pi * 100 * time_axis)
    noisy, same = mix_at_snr(clean, noise, snr=6.0)
    # Both tones are whole periods long: their levels are their amplitudes.
    expected = clean + 0.1 * 10 ** (-6 / 20) * noise / 0.7
    torch.testing.assert_close(noisy, expected)
    assert torch.equal(same, clean)


def test_loud_mixture_is_turned_down_with_its_speech():
    clean, noise = torch.full((100,), 0.9), torch.ones(100)
    noisy, quieter = mix_at_snr(clean, noise, snr=0.0)
    torch.testing.assert_close(noisy, torch.ones(100))
    torch.testing.assert_close(quieter, torch.full((100,), 0.5))


@pytest.mark.parametrize("level", [0.0, 1e-12, 1.0])
def test_silence_gives_no_nan(level):
    silence, sound = torch.zeros(100), torch.full((100,), level)
    for clean, noise in ((silence, sound), (sound, silence)):
        noisy, same = mix_at_snr(clean, noise, snr=-5.0)
        torch.testing.assert_close(noisy, clean)
        torch.testing.assert_close(same, clean)


def test_short_noise_is_looped(tmp_path):
    """A ramp as noise: every looped sample is known but for start and gain."""
    (tmp_path / "noise").mkdir()
    ramp = np.arange(1, 101) / 200
    sf.write(tmp_path / "noise" / "ramp.wav", ramp, 16000, subtype="FLOAT")
    prepare_data(
        tmp_path / "save", clean_folder=CLEAN, noise_folder=tmp_path / "noise"
    )
    item = make_datasets(tmp_path / "save")["test"][0]
    noise = item["noisy_sig"] - item["clean_sig"]
    steps = noise.diff()
    drops = (steps < 0).nonzero().flatten()
    assert set(drops.diff().tolist()) == {100}
    assert len(noise) > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"sample_rate": 8000},
            "prepared at 16000 Hz, but sample_rate is 8000",
        ),
        ({"crop_seconds": 0}, "crop_seconds is 0; give a positive length"),
        ({"crop_seconds": -1.0}, "crop_seconds is -1.0; give a positive"),
    ],
)
def test_wrong_options(folders, options, message):
    with pytest.raises(UserError, match=message):
        make_datasets(folders["pairs"], **options)


def test_nothing_prepared_or_damaged(tmp_path):
    with pytest.raises(UserError, match="data.json does not exist; prepare"):
        make_datasets(tmp_path)
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(UserError, match="data.json cannot be read"):
        make_datasets(tmp_path)


def test_file_that_shrank_after_preparation(tmp_path):
    shutil.copytree(sample_corpus(), tmp_path / "data")
    prepare_data(tmp_path / "save", data_folder=tmp_path / "data")
    for path in (tmp_path / "data").glob("noisy_test*/*.flac"):
        sf.write(path, np.zeros(10), 16000)
    with pytest.raises(UserError, match="p232_001.flac has changed since"):
        make_datasets(tmp_path / "save")["test"][0]
