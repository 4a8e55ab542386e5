"""One's own data: pairs, mixing, splits, and the choice between them."""

import json
import shutil

import numpy as np
import pytest
import soundfile as sf
import torch

from phasen_sb.cli import main
from phasen_sb.data import (
    make_datasets,
    prepare_data,
    prepare_mix,
    prepare_pairs,
    sample_corpus,
)
from phasen_sb.data.splits import split_items
from phasen_sb.errors import UserError

SPLITS = ("train", "valid", "test")


def write(path, seconds=0.1, rate=16000, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    sf.write(path, 0.1 * noise, rate)


def load(folder, split):
    return json.loads((folder / f"{split}.json").read_text())


@pytest.fixture
def pairs(tmp_path):
    """Ten pairs in subfolders, of mixed formats and rates."""
    for number in range(10):
        name = f"room{number % 2}/take{{{number}}}"
        suffix, rate = [(".wav", 16000), (".ogg", 44100)][number % 2]
        write(tmp_path / "noisy" / (name + suffix), rate=rate)
        write(tmp_path / "clean" / (name + ".flac"), rate=rate)
    return tmp_path / "noisy", tmp_path / "clean"


def test_pairs_of_any_format_depth_and_rate(pairs, tmp_path):
    record = prepare_pairs(*pairs, tmp_path / "save")
    assert record["resampler"]["files"] == 10
    names = [
        name for split in SPLITS for name in load(tmp_path / "save", split)
    ]
    assert len(names) == len(set(names)) == 10
    assert "room0__take{0}" in names
    for split in SPLITS:
        for entry in load(tmp_path / "save", split).values():
            for key in ("noisy_wav", "clean_wav"):
                path = entry[key].format(data_root=record["data_root"])
                info = sf.info(path)  # braces in file names survive
                assert info.samplerate == 16000
                assert info.frames == round(entry["length"] * 16000)


def test_split_depends_on_the_name_alone():
    names = [f"file{number}" for number in range(1000)]
    before = split_items({name: {} for name in names[:900]}, 0.1, 0.2)
    after = split_items({name: {} for name in reversed(names)}, 0.1, 0.2)
    for split, share in zip(SPLITS, (0.7, 0.1, 0.2), strict=True):
        assert set(before[split]) <= set(after[split])
        assert abs(len(after[split]) / 1000 - share) < 0.03


@pytest.mark.parametrize("count", [3, 4, 10])
def test_no_split_is_empty(count):
    for fraction in (0.01, 0.1, 0.49):
        names = {str(number): {} for number in range(count)}
        splits = split_items(names, fraction, fraction)
        assert all(splits[split] for split in SPLITS)
        assert sum(len(splits[split]) for split in SPLITS) == count


def test_groups_stay_together():
    items = {f"p{s}_{n}": {} for s in range(5) for n in range(4)}
    splits = split_items(items, 0.1, 0.1, r"^(p\d+)_")
    speakers = [{n.split("_")[0] for n in splits[s]} for s in SPLITS]
    assert sum(len(s) for s in speakers) == len(set.union(*speakers)) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"valid_fraction": 0.0}, "valid_fraction is 0.0; it must be between"),
        ({"valid_fraction": 0.6, "test_fraction": 0.5}, "nothing to train on"),
        ({"group_regex": "("}, r"group_regex '\(' is not a regular expression"),
        ({"group_regex": "^x"}, "finds nothing in the name room0__take"),
        ({"group_regex": "^room."}, "There are 2 groups of files"),
        ({"sample_rate": 16000.5}, "sample_rate is 16000.5; give a whole"),
    ],
)
def test_wrong_options(pairs, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        prepare_pairs(*pairs, tmp_path / "save", **options)


def test_unpaired_files_are_named_from_both_sides(pairs, tmp_path):
    noisy, clean = pairs
    next(noisy.rglob("take{4}.wav")).unlink()
    next(clean.rglob("take{6}.flac")).unlink()
    with pytest.raises(UserError) as error:
        prepare_pairs(noisy, clean, tmp_path / "save")
    message = str(error.value)
    assert message.startswith("2 of 18 audio files cannot be used")
    assert f"take{{4}}.flac: has no partner of that name in {noisy}" in message
    assert f"take{{6}}.wav: has no partner of that name in {clean}" in message


def test_folders_without_audio_or_inside_each_other(pairs, tmp_path):
    noisy, clean = pairs
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "speech.m4a").write_bytes(b"x")
    with pytest.raises(UserError, match="empty has no audio files in it"):
        prepare_pairs(noisy, tmp_path / "empty", tmp_path / "save")
    with pytest.raises(UserError, match="are both .*noisy; give two"):
        prepare_pairs(noisy, noisy, tmp_path / "save")
    with pytest.raises(UserError, match="lie in one another"):
        prepare_mix(clean, clean / "room0", tmp_path / "save")
    with pytest.raises(UserError, match="is a file; give the folder"):
        prepare_pairs(noisy, tmp_path / "empty" / "speech.m4a", tmp_path / "s")


def test_save_folder_among_the_data_is_left_out(pairs):
    noisy, clean = pairs
    first = prepare_pairs(noisy, clean, noisy / "results")
    again = prepare_pairs(noisy, clean, noisy / "results")
    assert again["splits"] == first["splits"]


def test_rates_that_share_nothing_are_refused(pairs, tmp_path):
    for folder, suffix in zip(pairs, (".wav", ".flac"), strict=True):
        write(folder / "room0" / f"take{{0}}{suffix}", rate=44101)
    with pytest.raises(UserError, match="44101 Hz, which has too little in"):
        prepare_pairs(*pairs, tmp_path / "save")


def test_noises_are_kept_apart(tmp_path):
    for number in range(8):
        write(tmp_path / "speech" / f"{number}.wav", seed=number)
    heard = {}
    for count in (1, 2, 3, 20):
        folder = tmp_path / f"noise{count}"
        for number in range(count):
            write(folder / f"{number}.wav", seed=number)
        save = tmp_path / f"save{count}"
        prepare_mix(tmp_path / "speech", folder, save)
        splits = [tuple(e["splits"]) for e in load(save, "noise").values()]
        heard[count] = set(splits)
        assert len(splits) == count
    assert heard[1] == {SPLITS}
    assert heard[2] == {("train",), ("valid", "test")}
    assert heard[3] == heard[20] == {("train",), ("valid",), ("test",)}


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (10, 0, "snr_low is 10 dB, above snr_high, 0 dB"),
        (0, float("nan"), "snr_high is nan"),
    ],
)
def test_wrong_snr(tmp_path, low, high, message):
    with pytest.raises(UserError, match=message):
        prepare_mix(tmp_path, tmp_path, tmp_path, snr_low=low, snr_high=high)


def test_the_folders_given_choose_the_source(pairs, tmp_path):
    noisy, clean = pairs
    save = tmp_path / "save"
    assert prepare_data(save)["data_folder"] == str(sample_corpus())
    shutil.copytree(sample_corpus(), tmp_path / "own")
    record = prepare_data(save, data_folder=tmp_path / "own")
    assert record["data_folder"] == str(tmp_path / "own")
    record = prepare_data(save, noisy_folder=noisy, clean_folder=clean)
    assert record["source"] == "pairs"
    record = prepare_data(save, clean_folder=clean, noise_folder=noisy)
    assert record["source"] == "mix"
    # The manifests are the last source's, and going back rewrites them.
    prepare_data(save)
    assert "p232_001" in load(save, "test")


@pytest.mark.parametrize(
    "given",
    [
        {"data_folder", "noisy_folder"},
        {"clean_folder"},
        {"noise_folder"},
        {"noisy_folder", "noise_folder"},
        {"noisy_folder", "clean_folder", "noise_folder"},
    ],
)
def test_folders_that_do_not_go_together(tmp_path, given):
    with pytest.raises(UserError, match="(together|enough); give data_folder"):
        prepare_data(tmp_path / "s", **dict.fromkeys(given, str(tmp_path)))


def test_extra_speech_is_for_training_alone(pairs, tmp_path):
    noisy, clean = pairs
    extra = tmp_path / "extra"
    for number in range(3):
        write(extra / f"voice/{number}.wav", rate=8000, seed=number)
    sources = (
        {"noisy_folder": noisy, "clean_folder": clean},
        {"clean_folder": clean, "noise_folder": noisy},
        {"data_folder": sample_corpus()},
    )
    for source in sources:
        prepare_data(tmp_path / "alone", **source)
        alone = {split: load(tmp_path / "alone", split) for split in SPLITS}
        record = prepare_data(
            tmp_path / "save", **source, extra_clean_folder=extra
        )
        for split in SPLITS:
            found = load(tmp_path / "save", split)
            more = {f"extra/voice__{number}" for number in range(3)}
            more = more if split == "train" else set()
            assert found.keys() == alone[split].keys() | more
        datasets = make_datasets(tmp_path / "save")
        (item,) = (
            item for item in datasets["train"] if item["id"] == "extra/voice__1"
        )
        noise = item["noisy_sig"] - item["clean_sig"]
        assert noise.any() == (record["source"] == "mix")
    (extra / "leak.flac").symlink_to(
        next((sample_corpus() / "clean_testset_wav_16k").glob("*.flac"))
    )
    with pytest.raises(UserError, match="leak.flac .* link to the data itself"):
        prepare_data(tmp_path / "save", extra_clean_folder=extra)
    with pytest.raises(UserError, match="did you mean .*extra"):
        prepare_data(tmp_path / "save", extra_clean_folder=f"{extra}s")
    with pytest.raises(UserError, match="give two folders"):
        prepare_data(
            tmp_path / "save",
            data_folder=sample_corpus(),
            extra_clean_folder=sample_corpus() / "clean_trainset_28spk_wav_16k",
        )


def test_extra_noise_is_for_training_alone(pairs, tmp_path):
    noisy, clean = pairs
    speech, hum = tmp_path / "speech", tmp_path / "hum"
    write(speech / "a.wav")
    hum.mkdir()
    wave = 0.1 * np.sin(np.arange(16000) * 2 * np.pi * 2000 / 16000)
    sf.write(hum / "hum.wav", wave, 16000)

    def hums(item):
        noise = np.abs(np.fft.rfft(item["noisy_sig"] - item["clean_sig"]))
        return noise.argmax() == round(len(item["noisy_sig"]) / 8)

    for source in (
        {"data_folder": sample_corpus()},
        {"noisy_folder": noisy, "clean_folder": clean},
        {"clean_folder": clean, "noise_folder": noisy},
    ):
        prepare_data(tmp_path / "alone", **source)
        record = prepare_data(
            tmp_path / "save",
            **source,
            extra_clean_folder=speech,
            extra_noise_folder=hum,
            snr_low=3,
            snr_high=3,
        )
        heard = load(tmp_path / "save", "noise")["noise/extra/hum"]["splits"]
        assert heard == ["train"]
        alone, datasets = (
            make_datasets(tmp_path / name) for name in ("alone", "save")
        )
        if record["source"] != "mix":
            for split in ("valid", "test"):
                one, other = alone[split][0], datasets[split][0]
                assert torch.equal(one["noisy_sig"], other["noisy_sig"])
        items = {item["id"]: item for item in datasets["train"]}
        extra = items.pop("extra/a")
        if record["source"] != "mix":
            assert hums(extra)
            noise = extra["noisy_sig"] - extra["clean_sig"]
            ratio = extra["clean_sig"].norm() / noise.norm()
            assert 20 * ratio.log10() == pytest.approx(3, abs=0.01)
        if record["source"] == "voicebank":
            assert 0.2 < np.mean([hums(item) for item in items.values()]) < 0.8
        assert not any(hums(item) for item in datasets["valid"])
    (hum / "leak.wav").symlink_to(next(noisy.rglob("*.wav")))
    with pytest.raises(UserError, match="leak.wav in extra_noise_folder"):
        prepare_data(
            tmp_path / "save",
            clean_folder=clean,
            noise_folder=noisy,
            extra_noise_folder=hum,
        )
    with pytest.raises(UserError, match="extra_noise_folder .* give two"):
        prepare_data(
            tmp_path / "save",
            extra_clean_folder=speech,
            extra_noise_folder=speech,
        )
    with pytest.raises(UserError, match="above snr_high"):
        prepare_data(tmp_path / "save", snr_low=9, snr_high=1)


def test_babble_is_of_many_voices_and_repeatable(tmp_path, capsys):
    speech = tmp_path / "speech"
    speech.mkdir()
    time = np.arange(4000) / 8000
    for k in range(8):  # each recording is a tone, the louder the higher
        tone = np.sin(2 * np.pi * 200 * (k + 1) * time)
        sf.write(speech / f"{k}.wav", tone * 0.1 * (k + 1), 8000)
    sf.write(speech / "silent.wav", np.zeros(4000), 8000)
    command = ["babble", str(speech), str(tmp_path / "a"), "--files", "2"]
    command += ["--seconds", "6", "--voices", "4", "4"]
    assert main(command) == 0
    assert "2 files of 6 s were written" in capsys.readouterr().out
    first, second = (sf.read(p)[0] for p in sorted((tmp_path / "a").iterdir()))
    assert len(first) == 6 * 16000 and np.abs(first).max() > 0.49
    assert not np.array_equal(first, second)
    # Four voices, of which some pause: fewer of the eight tones at a time.
    frames = np.abs(np.fft.rfft(first.reshape(-1, 3200)))
    tones = frames[:, 40:321:40] > 0.05 * frames.max()  # bins of 5 Hz
    assert 1.5 < tones.sum(1).mean() < 5
    assert tones.any(0).sum() >= 6
    near = np.abs(np.arange(1601) % 40 - 20) > 15
    assert (frames[:, near] ** 2).sum() > 0.9 * (frames**2).sum()

    assert main(command) == 1
    assert "babble_00.wav exists already" in capsys.readouterr().err
    command[2] = str(tmp_path / "b")
    assert main(command) == 0
    assert np.array_equal(sf.read(tmp_path / "b" / "babble_01.wav")[0], second)
    silent, stereo, odd = (tmp_path / name for name in ("mute", "two", "odd"))
    for path, wave, rate in (
        (silent, np.zeros(4000), 8000),
        (stereo, np.ones((4000, 2)), 8000),
        (odd, np.ones(4000), 8001),
    ):
        path.mkdir()
        sf.write(path / "x.wav", wave, rate)
    for words, message in (
        ([str(tmp_path / "none"), "x"], "does not exist"),
        ([str(silent), str(tmp_path / "c")], "are silent; give"),
        ([str(stereo), str(tmp_path / "c")], "fix or remove it"),
        ([str(odd), str(tmp_path / "c")], "too little in common"),
        ([str(speech), "/proc/babble"], "/proc/babble cannot be filled"),
        ([str(speech), str(speech / "x")], "lie in one another"),
        ([str(speech), "x", "--voices", "5", "4"], "--voices is 5 4"),
        ([str(speech), "x", "--seconds", "nan"], "--seconds is nan"),
        ([str(speech), "x", "--files", "0"], "--files is 0"),
        ([str(speech), str(speech / "1.wav")], "lie in one another"),
    ):
        capsys.readouterr()
        assert main(["babble", *words]) == 1
        assert message in capsys.readouterr().err
    assert not list((tmp_path / "c").glob("*"))


def test_clean_recordings_are_selected(tmp_path, capsys):
    rng = np.random.default_rng(0)
    pauses = np.repeat([1.0, 0.0, 1.0, 0.0], 8000)
    for name, level in (("studio", 1e-3), ("street", 3e-2)):
        wave = 0.1 * pauses + level * 0.1
        wave[:4000] = 0  # digital silence tells nothing
        path = tmp_path / "all" / name / "take.wav"
        path.parent.mkdir(parents=True)
        sf.write(path, wave * rng.standard_normal(32000), 16000)
    out = tmp_path / "clean"
    command = ["select", str(tmp_path / "all"), str(out)]
    for _ in range(2):
        assert main(command) == 0
        assert "1 of 2 recordings were selected" in capsys.readouterr().out
    assert [path.name for path in out.iterdir()] == ["studio__take.wav"]
    assert sf.info(out / "studio__take.wav").frames == 32000
    assert main([*command, "--level-range", "90"]) == 1
    assert "level range of 90.0 dB; the highest" in capsys.readouterr().err
    assert main([*command, "--level-range", "nan"]) == 1
    assert "--level-range is nan" in capsys.readouterr().err
    for wrong, message in (
        ("/proc/selected", "/proc/selected cannot be filled"),
        (command[1], "cannot be its own selection"),
        (str(tmp_path / "all" / "street" / "take.wav"), "is a file; name"),
    ):
        assert main([*command[:2], wrong]) == 1
        assert message in capsys.readouterr().err
    (out / "studio__take.wav").unlink()
    (out / "studio__take.wav").touch()
    assert main(command) == 1
    assert "is another file" in capsys.readouterr().err
    (tmp_path / "all" / "empty.wav").touch()
    assert main(command) == 1
    assert "empty.wav is an empty file" in capsys.readouterr().err
