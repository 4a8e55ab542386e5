"""Files are decoded once, and batches are cut out of them as files are read."""

import re
import tracemalloc

import numpy as np
import pytest
import soundfile as sf
import torch

from phasen_sb.data import device_corpus, make_datasets, prepare_data
from phasen_sb.data.corpus_placement import list_files, place_corpus
from phasen_sb.data.device_corpus import DeviceCorpus
from phasen_sb.errors import UserError

WAVE = np.random.default_rng(0).uniform(-0.9, 0.9, 30000)
WAVE[-2000:] = 0  # nothing to round in the last block


def write(folder, kind, scale=1.0):
    suffix, subtype = kind.split("-")
    path = folder / f"{kind}.{suffix}"
    sf.write(path, scale * WAVE, 16000, subtype=subtype)
    return str(path)


@pytest.fixture
def train(tmp_path):
    """The training pairs of the sample corpus."""
    prepare_data(tmp_path / "save", jobs=1)

    def make(corpus_on_device):
        return make_datasets(
            tmp_path / "save",
            crop_seconds=1,
            corpus_on_device=corpus_on_device,
        )["train"]

    return make


def test_samples_are_those_of_the_files(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(device_corpus, "BLOCK", 7001)
    exact = [write(tmp_path, k) for k in ("wav-PCM_16", "flac-PCM_16")]
    rounded = [
        write(tmp_path, "flac-PCM_24"),
        write(tmp_path, "ogg-OPUS"),
        write(tmp_path, "wav-FLOAT", 1.5),
    ]
    files = dict.fromkeys([*exact, *rounded], 30000)
    with caplog.at_level("INFO"):
        corpus = DeviceCorpus.decode(files, jobs=2)
    said = [r.message for r in caplog.records if "rounded" in r.message]
    assert len(said) == 1
    assert said[0].startswith("3 of 5 files") and "; 1 of them" in said[0]
    starts = [0, 7000, 27500, 12345, 500]
    parts = corpus.cut(torch.arange(5), torch.tensor(starts), 1000)
    for path, start, part in zip(files, starts, parts, strict=True):
        expected, _ = sf.read(path, 1000, start, dtype="float32")
        step = 0 if path in exact else 1.5 * max(1, abs(expected).max()) / 2**16
        torch.testing.assert_close(
            part, torch.from_numpy(expected), rtol=0, atol=step
        )
    assert parts[4].abs().max() > 1.3  # louder than 16 bits would allow


def test_recording_that_ends_starts_again():
    corpus = DeviceCorpus.join([torch.arange(n).short() for n in (9, 5, 7)])
    index, starts = torch.tensor([1, 2]), torch.tensor([3, 0])
    found = 2**15 * corpus.cut(index, starts, 12)
    for row, (length, start) in zip(found, [(5, 3), (7, 0)], strict=True):
        assert row.tolist() == [(start + i) % length for i in range(12)]


def test_each_file_takes_two_bytes_a_sample_once(tmp_path):
    long = tmp_path / "long.wav"
    sf.write(long, np.zeros(4 * device_corpus.BLOCK), 16000)
    tracemalloc.start()
    try:
        corpus = DeviceCorpus.decode({str(long): 4 * device_corpus.BLOCK})
        _, peak = tracemalloc.get_traced_memory()  # that of NumPy
    finally:
        tracemalloc.stop()
    assert corpus.samples.nbytes == 8 * device_corpus.BLOCK
    assert 4 * device_corpus.BLOCK <= peak < 5 * device_corpus.BLOCK


def test_pairs_without_noise_are_decoded_once(train):
    dataset = train(True)
    entry = dataset.data[dataset.data_ids[0]]
    entry["noisy_wav"] = entry["clean_wav"]
    assert len(list_files(dataset)) == 2 * len(dataset) - 1


def test_corpus_that_does_not_fit(train, monkeypatch, caplog):
    size = 2 * sum(list_files(train(True)).values())
    free = {"cpu": size - 1, "cuda": 4 * size - 1}
    monkeypatch.setattr(
        "phasen_sb.data.corpus_placement.find_free_memory",
        lambda device: free[device.type],
    )
    options = {"num_workers": 3}
    with pytest.raises(
        UserError, match=r"MB that are free on cpu; give --corpus"
    ):
        place_corpus(train(True), "cpu", options)
    dataset = train("auto")
    for device, reason in (
        (
            "cuda",
            "takes 3 MB, over a quarter of the 12 MB that are free on cuda",
        ),
        ("cpu", "not on a CUDA GPU, so files are decoded"),
    ):
        caplog.clear()
        with caplog.at_level("INFO"):
            assert place_corpus(dataset, device, options) == (dataset, options)
        assert len(caplog.records) == 1
        assert caplog.text.count("corpus_on_device") == 1
        assert re.search(reason, caplog.text)
    assert place_corpus(train(False), "cuda", options)[1] == options
    free["cpu"] += 1
    assert place_corpus(train(True), "cpu", options)[1]["num_workers"] == 0


def test_file_that_shrank_after_preparation(tmp_path):
    path = write(tmp_path, "wav-PCM_16")
    with pytest.raises(UserError, match="PCM_16.wav has changed since it was"):
        DeviceCorpus.decode({path: 30001})
