"""VoiceBank-DEMAND: both layouts, second runs, and every kind of bad file."""

import json
import math
import os
import re
import resource
import shutil
import time

import numpy as np
import pytest
import soundfile as sf

from phasen_sb.data import (
    manifest,
    prepare_voicebank,
    resample_cache as resample,
    sample_corpus,
)
from phasen_sb.errors import UserError

FOLDERS = [
    "noisy_trainset_28spk_wav",
    "clean_trainset_28spk_wav",
    "noisy_testset_wav",
    "clean_testset_wav",
]
NAMES = {"trainset_28spk": ["p226_001", "p227_001"], "testset": ["p232_001"]}


def tone(frequency, rate, seconds=0.5):
    time_axis = np.arange(round(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * frequency * time_axis)


@pytest.fixture
def published(tmp_path):
    """VoiceBank-DEMAND as published, 48 kHz, three pairs of tones."""
    root = tmp_path / "VoiceBank"
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
        part = folder.removesuffix("_wav").split("_", 1)[1]
        for name in NAMES[part]:
            # 1 kHz must survive 16 kHz, 11 kHz must not come back as 5 kHz.
            sound = tone(1000, 48000)
            if folder.startswith("noisy"):
                sound = sound + 0.3 * tone(11000, 48000)
            sf.write(root / folder / f"{name}.wav", sound, 48000)
    return root


@pytest.fixture
def file_size_limit():
    """Makes the system refuse to write more, much as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small(tmp_path):
    """VoiceBank-DEMAND at 16 kHz, three pairs of the sample corpus."""
    root = tmp_path / "Small"
    for folder in FOLDERS:
        folder += "_16k"
        (root / folder).mkdir(parents=True)
        part = folder.removesuffix("_wav_16k").split("_", 1)[1]
        for name in NAMES[part]:
            shutil.copy(
                sample_corpus() / folder / f"{name}.flac", root / folder
            )
    return root


def load(folder, split):
    return json.loads((folder / f"{split}.json").read_text())


def test_sample_corpus_manifests(tmp_path):
    record = prepare_voicebank(sample_corpus(), tmp_path)
    train, valid, test = (load(tmp_path, s) for s in ("train", "valid", "test"))
    assert {name.split("_")[0] for name in train} == {"p227", "p228"}
    assert {name.split("_")[0] for name in valid} == {"p226"}
    assert {name.split("_")[0] for name in test} == {"p232", "p257"}
    for entry in [*train.values(), *valid.values(), *test.values()]:
        for key in ("noisy_wav", "clean_wav"):
            path = entry[key].replace("{data_root}", record["data_root"])
            assert round(entry["length"] * 16000) == sf.info(path).frames
    assert record["resampler"] is None
    original, used = (
        record["splits"]["train"][k] for k in ("original", "used")
    )
    assert original == used and original["noisy_wav"] != original["clean_wav"]


def test_checksum_is_of_samples_not_of_container(small, tmp_path):
    flac = prepare_voicebank(small, tmp_path / "one")
    for path in small.rglob("*.flac"):
        samples, rate = sf.read(path, dtype="int16")
        sf.write(path.with_suffix(".wav"), samples, rate)
        path.unlink()
    wav = prepare_voicebank(small, tmp_path / "two")
    assert wav["splits"] == flac["splits"]
    path = next(iter(small.rglob("*.wav")))
    samples, rate = sf.read(path, dtype="int16")
    samples[100] += 1
    sf.write(path, samples, rate)
    changed = prepare_voicebank(small, tmp_path / "two")
    assert changed["splits"] != flac["splits"]


def test_resamples_published_layout(published, tmp_path):
    record = prepare_voicebank(published, tmp_path / "save", jobs=2)
    assert record["resampler"]["files"] == 6
    assert record["resampler"]["lowpass_filter_width"] == 64
    assert record["splits"]["train"]["original_rates"] == [48000]
    (entry,) = load(tmp_path / "save", "train").values()
    expected = tone(1000, 16000)
    for key in ("noisy_wav", "clean_wav"):
        path = entry[key].replace("{data_root}", record["data_root"])
        samples, rate = sf.read(path)
        assert rate == 16000 and round(entry["length"] * 16000) == len(samples)
        inner = slice(400, -400)  # beyond the filter's edges
        error = np.abs(samples - expected)[inner].max()
        assert error < 1e-4, key


def test_keeps_published_rate_on_request(published, tmp_path):
    record = prepare_voicebank(published, tmp_path / "save", 48000)
    assert record["resampler"] is None and record["sample_rate"] == 48000


def test_second_run_reads_no_audio(published, tmp_path, monkeypatch):
    first = prepare_voicebank(published, tmp_path / "save")
    written = (tmp_path / "save" / "train.json").stat().st_mtime_ns

    def fail(*args):
        raise AssertionError("audio was read again")

    monkeypatch.setattr(manifest, "inspect_audio", fail)
    monkeypatch.setattr(manifest, "resample_file", fail)
    assert prepare_voicebank(published, tmp_path / "save") == first
    assert (tmp_path / "save" / "train.json").stat().st_mtime_ns == written


def test_changed_file_is_prepared_anew(published, tmp_path):
    prepare_voicebank(published, tmp_path / "save")
    for kind in ("noisy", "clean"):
        path = published / f"{kind}_testset_wav" / "p232_001.wav"
        sf.write(path, tone(500, 48000, 0.25), 48000)
    prepare_voicebank(published, tmp_path / "save")
    assert load(tmp_path / "save", "test")["p232_001"]["length"] == 0.25


def test_interrupted_resampling_goes_on(published, tmp_path, monkeypatch):
    save = tmp_path / "save"
    stop_after, done = 3, []

    def interrupted(source, *args):
        if len(done) == stop_after:
            raise KeyboardInterrupt
        done.append(source)
        return resample.resample_file(source, *args)

    monkeypatch.setattr(manifest, "resample_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_voicebank(published, save, jobs=1)
    assert not (save / "data.json").exists()
    kept = {p: p.stat().st_ino for p in save.rglob("*.wav")}
    assert len(kept) == stop_after

    monkeypatch.undo()
    prepare_voicebank(published, save)
    assert {p: p.stat().st_ino for p in kept} == kept  # not written again
    assert len(list(save.rglob("*.wav"))) == 6
    assert not list(save.rglob("*.part"))


def test_damaged_cache_is_named(published, tmp_path):
    prepare_voicebank(published, tmp_path / "save")
    victim = sorted((tmp_path / "save").rglob("*.wav"))[0]
    modified = victim.stat().st_mtime_ns
    victim.write_bytes(b"")
    os.utime(victim, ns=(modified, modified))
    (tmp_path / "save" / "data.json").unlink()
    with pytest.raises(UserError, match=f"{victim}.*empty file.*remove it"):
        prepare_voicebank(published, tmp_path / "save")


def test_all_bad_files_are_told_at_once(small, tmp_path):
    noisy = small / "noisy_trainset_28spk_wav_16k"
    clean = small / "clean_trainset_28spk_wav_16k"
    sound = 0.1 * tone(300, 16000)
    bad = {
        "p227_010": (b"", "is an empty file of 0 bytes"),
        "p227_011": (b"this is no audio", "cannot be decoded"),
        "p227_012": (sound[:0], "has no samples"),
        "p227_013": (np.stack([sound, sound], 1), "has 2 channels"),
        "p227_014": (
            np.append(sound, np.nan),
            "NaN or infinity at sample 8000",
        ),
        "p227_015": (sound[:-1], "has 7999 samples, .* has 8000"),
        "p227_016": (None, "is at 8000 Hz"),
        "p227_017": ("cut", "cannot be decoded|is cut short"),
    }
    for name, (content, _) in bad.items():
        sf.write(clean / f"{name}.wav", sound, 16000)
        path = noisy / f"{name}.wav"
        if content is None:
            sf.write(path, sound, 8000)
        elif isinstance(content, str):
            path = path.with_suffix(".flac")
            sf.write(path, sound, 16000)
            path.write_bytes(path.read_bytes()[:-2000])
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            sf.write(path, content, 16000, subtype="FLOAT")
    sf.write(clean / "p227_018.wav", sound, 16000)
    with pytest.raises(UserError) as error:
        prepare_voicebank(small, tmp_path / "save")
    message = str(error.value)
    assert message.startswith("9 of 23 audio files cannot be used")
    for name, (_, problem) in bad.items():
        assert re.search(f"/noisy_.*/{name}.*: .*{problem}", message), name
    assert re.search("/clean_.*/p227_018.wav: has no partner", message)
    assert not (tmp_path / "save" / "train.json").exists()


def test_long_lists_go_to_a_file(small, tmp_path):
    for number in range(30):
        name = f"noisy_testset_wav_16k/p232_1{number:02}.wav"
        (small / name).write_bytes(b"")
    with pytest.raises(UserError, match="and 10 more, all in .*bad_files.txt"):
        prepare_voicebank(small, tmp_path / "save")
    full_list = (tmp_path / "save" / "bad_files.txt").read_text()
    assert full_list.count("has no partner") == 30


def test_odd_but_sound_files_are_accepted(small, tmp_path):
    odd = {
        "silent": np.zeros(8000),
        "single": np.full(1, 0.1),
        "constant": np.full(8000, 0.5),
        "clipped": np.clip(4 * tone(100, 16000), -1, 1),
        "square": np.sign(tone(100, 16000) + 1e-9),
    }
    for kind in ("noisy", "clean"):
        for name, sound in odd.items():
            path = small / f"{kind}_trainset_28spk_wav_16k" / f"p227_{name}.wav"
            sf.write(path, sound, 16000)
    record = prepare_voicebank(small, tmp_path / "save")
    assert record["splits"]["train"]["files"] == 1 + len(odd)
    single = load(tmp_path / "save", "train")["p227_single"]
    assert single["length"] == 1 / 16000


def test_wrong_rate_for_the_folder_name(published, tmp_path):
    path = published / "clean_testset_wav" / "p232_001.wav"
    sf.write(path, tone(1000, 16000), 16000)
    message = (
        f"1 of 6 audio.*{path}: is at 16000 Hz, but the name clean_testset_wav "
        "stands for 48000 Hz"
    )
    with pytest.raises(UserError, match=re.compile(message, re.DOTALL)):
        prepare_voicebank(published, tmp_path / "save")


def test_write_that_fails_leaves_nothing(published, tmp_path, file_size_limit):
    file_size_limit(20_000)  # above a manifest, below a resampled file
    with pytest.raises(UserError, match="p2.*wav cannot be written: File too"):
        prepare_voicebank(published, tmp_path / "save")
    assert not list(tmp_path.rglob("*.part"))
    assert not (tmp_path / "save" / "data.json").exists()


def test_typo_in_data_folder(small, tmp_path):
    with pytest.raises(UserError, match=f"did you mean {small}\\?"):
        prepare_voicebank(tmp_path / "Smal", tmp_path / "save")
    typo = tmp_path.with_name(tmp_path.name + "s") / "Small"
    with pytest.raises(UserError, match=f"did you mean {small}\\?"):
        prepare_voicebank(typo, tmp_path / "save")


def test_folder_above_is_recognised(small, tmp_path):
    with pytest.raises(UserError, match=f"did you mean {small}\\?"):
        prepare_voicebank(tmp_path, tmp_path / "save")
    with pytest.raises(UserError, match=f"did you mean {small}\\?"):
        prepare_voicebank(small / "clean_testset_wav_16k", tmp_path / "save")


def test_typo_in_inner_folder(small, tmp_path):
    right = small / "noisy_testset_wav_16k"
    right.rename(small / "nosy_testset_wav_16k")
    with pytest.raises(
        UserError, match="no folder noisy_testset_wav_16k; is it nosy_testset"
    ):
        prepare_voicebank(small, tmp_path / "save")


def test_validation_speakers_must_be_there(small, tmp_path):
    with pytest.raises(UserError, match="p999, but .* it has p226, p227"):
        prepare_voicebank(small, tmp_path / "save", valid_speakers=["p999"])
    prepare_voicebank(small, tmp_path / "save", valid_speakers="p227")
    assert list(load(tmp_path / "save", "valid")) == ["p227_001"]


def test_many_files_are_quick_the_second_time(small, tmp_path):
    for folder in small.iterdir():
        sound = next(folder.iterdir())
        for number in range(100, 350):
            (folder / f"p228_{number}.flac").hardlink_to(sound)
    # Four folders share nothing, so each pair would differ in length.
    for kind in ("trainset_28spk", "testset"):
        source = small / f"clean_{kind}_wav_16k"
        for path in (small / f"noisy_{kind}_wav_16k").glob("p228*"):
            path.unlink()
            path.hardlink_to(source / path.name)
    prepare_voicebank(small, tmp_path / "save")
    start = time.perf_counter()
    prepare_voicebank(small, tmp_path / "save")
    assert time.perf_counter() - start < 3.0  # for a thousand files
    assert math.isclose(
        load(tmp_path / "save", "test")["p228_100"]["length"],
        sf.info(small / "clean_testset_wav_16k/p228_100.flac").duration,
    )
