"""Shards are packed, found, read and skipped as they should be."""

import http.server
import json
import re
import threading
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers.corpora import RATE
from speechbrain.dataio.batch import PaddedBatch

from phasen_sb.cli import main
from phasen_sb.configuration.run_options import parse_arguments
from phasen_sb.data import (
    make_datasets,
    prepare_data,
    shard_stream,
    shards as shards_module,
)
from phasen_sb.data.shard_folders import shard_folders
from phasen_sb.data.shard_stream import ShardLoader
from phasen_sb.data.shards import Shard, find_shards, read_shard
from phasen_sb.errors import UserError

COUNT = 40
#: Of 0.5 to 1 s each: four recordings in a shard.
MINUTES = 3.0 / 60


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Noisy and clean speech and noise; a recording's level tells which."""
    root = tmp_path_factory.mktemp("corpus")
    draw = np.random.default_rng(0)
    for folder in ("noisy", "clean", "noise"):
        (root / folder).mkdir()
    for number in range(COUNT):
        time = np.arange(draw.integers(RATE // 2, RATE))
        clean = (number + 1) / 400 * 2**0.5 * np.sin(time / 5)
        noise = draw.normal(0, 0.1, len(clean))
        name = f"a.{number}.wav"
        sf.write(root / "clean" / name, clean, RATE)
        sf.write(root / "noisy" / name, clean + noise, RATE)
        if number < 12:
            sf.write(root / "noise" / name, noise, RATE)
    return root


@pytest.fixture(scope="module")
def packed(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    shard_folders(
        folder,
        clean=corpus / "clean",
        noise=corpus / "noise",
        shard_minutes=MINUTES,
    )
    shard_folders(
        folder,
        corpus / "noisy",
        corpus / "clean",
        shard_minutes=MINUTES,
        audio_format="opus",
    )
    return folder


def pattern(folder, kind):
    index = json.loads((folder / f"{kind}.json").read_text())
    return f"{folder}/{kind}-{{000000..{len(index['shards']) - 1:06d}}}.tar"


def read_packed(folder, name):
    index = json.loads((folder / f"{name.split('-')[0]}.json").read_text())
    return read_shard(Shard(str(folder / name), **index["shards"][name]))


def training_set(packed, save, epoch=1, crop=0.1, **folders):
    if not folders:
        folders = {
            "clean_folder": pattern(packed, "speech"),
            "noise_folder": pattern(packed, "noise"),
        }
    prepare_data(save, **folders, snr_low=6, snr_high=6)
    counter = SimpleNamespace(current=epoch)
    return make_datasets(save, RATE, crop, 1, counter)["train"]


def batches(dataset, batch_size=2, before=0, **options):
    loader = ShardLoader(dataset, batch_size, collate_fn=PaddedBatch, **options)
    loader.step = before
    return list(loader)


def test_recordings_come_out_as_they_went_in(corpus, packed):
    for kind, error in (("speech", 2**-15), ("pairs", 0.1)):
        series = find_shards(pattern(packed, kind), kind, RATE)
        assert [len(part) for part in series.values()] > [2, 0, 0]
        ids = []
        for shard in sum(series.values(), []):
            samples = read_shard(shard)
            assert len(samples) == shard.samples
            for sample in samples:
                ids.append(sample.id)
                for name, content in sample.signals.items():
                    file = corpus / name / f"{sample.id}.wav"
                    wanted, _ = sf.read(file)
                    (packed / "one").write_bytes(content)
                    got, rate = sf.read(packed / "one")
                    assert rate == RATE and len(got) == len(wanted)
                    assert np.abs(got - wanted).mean() < error
        assert {*ids} == {f"a.{number}" for number in range(COUNT)}
        train = ids[: sum(shard.samples for shard in series["train"])]
        assert train != sorted(train)  # each shard is a random sample


def test_packing_goes_on_where_it_stopped(corpus, tmp_path):
    def pack(**options):
        return shard_folders(
            tmp_path, noise=corpus / "noise", shard_minutes=MINUTES, **options
        )["noise"]

    before = pack()
    whole = (tmp_path / "noise-000000.tar").read_bytes()
    kept = (tmp_path / "noise-000001.tar").stat().st_mtime_ns
    for damaged in (whole[:999], whole.replace(b"fLaC", b"FLAC", 1)):
        (tmp_path / "noise-000000.tar").write_bytes(damaged)
        assert pack() == before
        assert (tmp_path / "noise-000000.tar").read_bytes() == whole
    assert (tmp_path / "noise-000001.tar").stat().st_mtime_ns == kept
    with pytest.raises(UserError, match="other recordings or settings"):
        pack(sample_rate=8000)


def test_long_recordings_are_cut_and_bad_ones_left_out(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    wave = np.sin(np.arange(5 * 8000) / 9)
    for number in range(9):  # also beyond full scale
        sf.write(
            tmp_path / "in" / f"{number}.wav", number * wave, 8000, "FLOAT"
        )
    sf.write(tmp_path / "in" / "nan.wav", wave * np.nan, 8000, "FLOAT")
    sf.write(tmp_path / "in" / "two.wav", np.stack([wave, wave], 1), 8000)
    (tmp_path / "in" / "text.wav").write_text("not audio")
    words = ["shard", str(tmp_path), "--clean", str(tmp_path / "in")]
    words += ["--piece-seconds", "2", "--valid-fraction", "0.3"]
    assert main([*words, "--test-fraction", "0.3"]) == 0
    said = capsys.readouterr().out
    for name in ("nan.wav: it has NaN", "two.wav: has 2", "text.wav: cannot"):
        assert f"left out: {tmp_path / 'in'}/{name}" in said
    index = json.loads((tmp_path / "speech.json").read_text())
    series = index["shards"].values()
    assert sum(facts["samples"] for facts in series) == 27
    assert sum(facts["seconds"] for facts in series) == pytest.approx(45)
    for name in index["shards"]:
        for sample in read_packed(tmp_path, name):
            got, _ = sf.read(BytesIO(sample.signals["clean"]))
            rms = 0 if sample.id[0] == "0" else 0.5**0.5
            assert np.mean(got**2) ** 0.5 == pytest.approx(rms, abs=0.1)


def test_what_cannot_be_packed_gets_a_sentence(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(4):
        (tmp_path / "in" / f"{number}.wav").write_text("not audio")
    for options, reason in (
        ({}, r"no recording .*\.wav cannot be decoded .* a larger share"),
        (
            {"audio_format": "opus", "sample_rate": 44100},
            "opus cannot have 44100 Hz",
        ),
    ):
        with pytest.raises(UserError, match=reason):
            shard_folders(tmp_path, clean=tmp_path / "in", **options)
    assert not list(tmp_path.glob("speech*"))


def test_series_with_the_same_names_go_together(packed, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(packed)
    both = {
        f"{kind}_folder": pattern(packed, series).replace(
            str(packed), f"{tmp_path}/{{one,two}}"
        )
        for kind, series in (("clean", "speech"), ("noise", "noise"))
    }
    training_set(packed, tmp_path / "alone")
    training_set(packed, tmp_path / "both", **both)
    for split in ("valid", "test"):
        once, twice = (
            make_datasets(tmp_path / save, RATE)[split]
            for save in ("alone", "both")
        )
        assert len(twice) == 2 * len(once)
        assert len(twice.load.noises) == 2 * len(once.load.noises)


def test_an_epoch_has_each_recording_once(packed, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    seen, lengths = [], []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        data = training_set(packed, tmp_path)
        found = batches(data, num_workers=2)
        lengths.append(len(found))
        seen += [key for batch in found for key in batch.id]
    there = sum(shard.samples for shard in data.shards)
    assert lengths == [there // 4] * 2
    # Shards are of unequal size, so that some are begun a second time.
    assert len(set(seen)) > 0.8 * there
    datasets = make_datasets(tmp_path, RATE)
    held_out = {*datasets["valid"].data_ids, *datasets["test"].data_ids}
    assert len(held_out) == COUNT - there
    assert not held_out & set(seen)


def test_processes_hear_noises_in_orders_of_their_own(
    packed, tmp_path, monkeypatch
):
    heard = []
    data = training_set(packed, tmp_path)
    monkeypatch.setattr(data, "_make_pair", lambda _, noise: noise.id)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        heard.append(list(islice(data, 8)))
    assert heard[0] != heard[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_epoch_goes_on(packed, tmp_path, workers):
    data = training_set(packed, tmp_path)
    whole = batches(data, num_workers=workers)
    for before in (1, 5):
        rest = batches(data, before=before, num_workers=workers)
        assert len(rest) == len(whole) - before
        for batch, again in zip(whole[before:], rest, strict=True):
            assert batch.id == again.id
            assert torch.equal(batch.noisy_sig.data, again.noisy_sig.data)
    # Of an epoch that ended early, nothing is left for the next one.
    loader = ShardLoader(data, 2, collate_fn=PaddedBatch, num_workers=workers)
    next(iter(loader))
    assert [batch.id for batch in loader] == [batch.id for batch in whole]
    loader.step = 3
    loader.save(tmp_path / "loader")
    for is_over, step in ((False, 3), (True, 0)):
        loader.load(tmp_path / "loader", is_over)
        assert loader.step == step
    data.epoch_counter.current = 2
    other = batches(data, num_workers=workers)
    assert [batch.id for batch in other] != [batch.id for batch in whole]


def test_mixtures_and_pairs(packed, tmp_path):
    def levels(data):
        for batch in batches(data):
            noisy, clean = batch.noisy_sig.data, batch.clean_sig.data
            for key, signal, noise in zip(
                batch.id, clean, noisy - clean, strict=True
            ):
                yield key, float(signal.square().mean()), noise.square().mean()

    for key, speech, noise in levels(training_set(packed, tmp_path / "mix")):
        assert speech**0.5 == pytest.approx((int(key[2:]) + 1) / 400, rel=0.02)
        assert 10 * np.log10(speech / float(noise)) == pytest.approx(6, abs=0.1)
    pairs = {"data_folder": pattern(packed, "pairs")}
    data = training_set(packed, tmp_path / "pairs", **pairs)
    for _, _, noise in levels(data):
        assert 0.05 < float(noise) ** 0.5 < 0.15


class BreakingServer(http.server.SimpleHTTPRequestHandler):
    """Breaks off the first answers for some files, or all of them."""

    failures: dict[str, int] = {}

    def do_GET(self):
        name = self.path.strip("/")
        if self.failures.get(name, 0):
            self.failures[name] -= 1
            self.send_response(200)
            self.send_header("Content-Length", "99999")
            self.end_headers()
            self.wfile.write(b"x" * 999)
            self.close_connection = True
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@contextmanager
def serve(folder, failures):
    def handler(*args):
        return BreakingServer(*args, directory=str(folder))

    BreakingServer.failures = failures
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_server_that_breaks_off(packed, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(shards_module.time, "sleep", lambda seconds: None)
    folders = {
        "clean_folder": pattern(packed, "speech"),
        "noise_folder": pattern(packed, "noise"),
    }
    local = batches(training_set(packed, tmp_path / "local"))
    failures = {"speech.json": 1, "speech-000000.tar": 2}
    with serve(packed, failures) as address:
        remote = {
            key: value.replace(str(packed), address)
            for key, value in folders.items()
        }
        data = training_set(packed, tmp_path / "remote", **remote)
        got = batches(data)
        assert [batch.id for batch in got] == [batch.id for batch in local]
        assert not any(failures.values())
        failures["speech-000001.tar"] = 1000
        caplog.clear()
        loader = ShardLoader(data, 2, collate_fn=PaddedBatch)
        rest = [key for batch in loader for key in batch.id]
    lost = [sample.id for sample in read_packed(packed, "speech-000001.tar")]
    assert lost and not set(lost) & set(rest)
    counts = loader.count_skipped()
    assert counts["skipped_shards"] >= 1 and counts["skipped_samples"] == 0
    assert f"Skipped: The shard {address}/speech-000001.tar" in caplog.text


def test_broken_sample_is_skipped(packed, tmp_path, monkeypatch, caplog):
    def spoil(shard):
        samples = read_shard(shard)
        for sample in samples:
            if "clean" in sample.signals and int(sample.id[2:]) % 2:
                sample.signals["clean"] = sample.signals["clean"][:200]
        return samples

    data = training_set(packed, tmp_path)
    monkeypatch.setattr(shard_stream, "read_shard", spoil)
    monkeypatch.setitem(shard_stream.MOST_IN_A_ROW, "samples", 12)
    keys = [key for batch in batches(data) for key in batch.id]
    assert keys and not any(int(key[2:]) % 2 for key in keys)
    assert data.skipped["samples"].value > 12
    assert re.search(
        r"Skipped: a\.\d+ of \S+/speech-\d+\.tar mixed with a\.\d+ of "
        r"\S+/noise-\d+\.tar: ",
        caplog.text,
    )


def test_nothing_to_read_ends_the_training(packed, tmp_path):
    data = training_set(packed, tmp_path)
    for shard in data.shards:
        object.__setattr__(shard, "sha256", "0" * 64)
    with pytest.raises(UserError, match="10 shards in a row cannot be used"):
        batches(data)


def test_mistakes_get_a_sentence(corpus, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(shards_module.time, "sleep", lambda seconds: None)
    data = training_set(packed, tmp_path)
    with pytest.raises(UserError, match="processes with 99 workers each need"):
        ShardLoader(data, 2, num_workers=99)
    speech, noise = pattern(packed, "speech"), pattern(packed, "noise")
    for folders, reason in (
        ({"clean_folder": noise, "noise_folder": speech}, "hold noise, not"),
        ({"clean_folder": speech, "noise_folder": corpus / "noise"}, "both of"),
        ({"noisy_folder": speech, "clean_folder": speech}, "give shards"),
        ({"data_folder": speech, "sample_rate": 8000}, "hold speech, not"),
        ({"data_folder": f"{packed}/pairs-000000.tar"}, "no shard of the"),
        ({"data_folder": f"{packed}/pairs-{{0..9}}.tar"}, "does not list"),
        ({"data_folder": f"{packed}/none-000000.tar"}, "cannot be read"),
        ({"data_folder": f"{packed}/pairs-{{0..9.tar"}, "is not a pattern"),
        ({"data_folder": "pipe://rm-0.tar"}, "must be a path, or start"),
        ({"data_folder": "http://127.0.0.1:9/a-0.tar"}, "cannot be read"),
    ):
        with pytest.raises(UserError, match=reason):
            prepare_data(tmp_path, **folders)
    with pytest.raises(UserError, match="put it in quotes"):
        parse_arguments(["a.yaml", "--data_folder", "a-0.tar", "a-1.tar"])
    with pytest.raises(UserError, match="are at 16000 Hz"):
        find_shards(speech, "speech", 8000)
    with pytest.raises(UserError, match="--noisy cannot be packed"):
        shard_folders(tmp_path, noisy=corpus / "noisy")
