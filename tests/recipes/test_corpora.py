"""``python -m recipes.corpora`` on a tiny repository and a folder."""

import csv
import shutil
import subprocess
import zipfile
from collections import Counter

import numpy as np
import pytest
import soundfile as sf
import yaml
from scipy.signal import fftconvolve

from phasen_sb.data.pack import read_pack
from phasen_sb.errors import UserError
from recipes.corpora.__main__ import build, main
from recipes.corpora.pack import make_pack
from recipes.corpora.recordings import read_rows
from recipes.corpora.signals import RATE, active_level

WORDS = 14


def say_word(rng, rate, seconds=0.5):
    """A buzz and some noise, in a quiet room."""
    time = np.arange(round(seconds * rate)) / rate
    pitch = rng.uniform(100, 250)
    buzz = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 30))
    word = 0.1 * buzz + 0.02 * rng.standard_normal(len(time))
    word *= np.sin(np.pi * np.arange(len(time)) / len(time)) ** 0.3
    room = 3e-5 * rng.standard_normal(round(0.9 * rate))
    room[: len(word)] += word
    return np.roll(room, round(0.2 * rate))


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*.opus"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A repository of voices, a folder of noises and their table."""
    root = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    voices = root / "voices"
    credits = []
    for language, author, licence in (
        ("fr", "Zoé Dupont 2015", "GPL V3+"),
        ("hu", "somlai", "GPL V3+"),
        ("xx", "Nobody", "CC BY-NC"),
    ):
        folder = voices / language / "words"
        folder.mkdir(parents=True)
        credits.append(f"./{language}/words:")
        for k in range(WORDS):
            sf.write(folder / f"w{k:02d}.ogg", say_word(rng, 22050), 22050)
            credits.append(f"w{k:02d}.ogg   {author} / {licence}")
    place = credits.index("w03.ogg   Zoé Dupont 2015 / GPL V3+")
    credits[place] = "w03.ogg   Zoé Dupont / CC BY 3.0"
    french = voices / "fr" / "words"
    clipped = (30 * say_word(rng, 22050)).clip(-0.9, 0.9)
    sf.write(french / "clipped.ogg", clipped, 22050)
    sf.write(french / "silent.ogg", np.zeros(22050), 22050)
    sf.write(french / "unlisted.ogg", say_word(rng, 22050), 22050)
    sf.write(french / "long.ogg", np.tile(say_word(rng, 22050), 14), 22050)
    place = credits.index("w00.ogg   Zoé Dupont 2015 / GPL V3+")
    for name in ("clipped", "silent", "long"):
        credits.insert(place, f"{name}.ogg Zoé Dupont / GPL V3+")
    (voices / "LICENSE").write_text("\n".join(credits))
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", voices]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "1"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    noises = root / "noises"
    noises.mkdir()
    for name, seconds in (("rain", 4), ("city", 3), ("tick", 0.1)):
        noise = rng.standard_normal(round(seconds * RATE)) / 20
        sf.write(noises / f"{name}.wav", noise, RATE)
    by = {"author": "A", "licence": "CC0"}
    table = {
        "held_out": {"languages": ["hu"], "noises": ["city"]},
        "sources": [
            {
                "name": "voices",
                "repository": str(voices),
                "commit": commit,
                "credit_files": "LICENSE",
                "speech": [
                    {
                        "label": "v-{author}",
                        "files": "??/*.ogg",
                        "language": "{folder}",
                        "credits": "folder_lists",
                    }
                ],
            },
            {
                "name": "noises",
                "folder": "noises",
                "noise": [
                    {"label": "rain", "files": "rain.wav", **by},
                    {"label": "city", "files": "city.wav", **by},
                    {"label": "tick", "files": "t*.wav", "events": True, **by},
                ],
            },
        ],
    }
    path = root / "sources.yaml"
    path.write_text(yaml.safe_dump(table))
    return path


@pytest.fixture(scope="module")
def work(sources, tmp_path_factory):
    """What is built of them."""
    work = tmp_path_factory.mktemp("work")
    build(work, sources, jobs=1, pairs=10, mib=0.7)
    return work


def test_speech_is_clean_joined_and_named(work):
    rows = read_rows(work / "manifest.csv")
    speech = [row for row in rows if row.kind == "speech"]
    assert {(row.split, row.label, row.language) for row in speech} == {
        ("train", "v-zoe-dupont", "fr"),
        ("far", "v-somlai", "hu"),
    }
    # One word of the first voice has a licence of its own.
    for row in speech:
        other = "CC BY 3.0; " * ("fr/words/w03.ogg" in row.source_files)
        assert row.licence == f"{other}GPL V3+"
    assert any("CC BY" in row.licence for row in speech)
    used = Counter(
        name
        for row in speech
        if row.split == "train"
        for name in row.source_files.split("|")
    )
    words = {f"fr/words/w{k:02d}.ogg" for k in range(WORDS)}
    # All words once or, if the last ones are too few, not at all.
    assert words >= set(used) - {"fr/words/long.ogg"}
    assert len(words & set(used)) >= WORDS - 2
    assert all(used[name] == 1 for name in words & set(used))
    assert used["fr/words/long.ogg"] in (2, 3)  # 12.6 s: cut
    for row in speech:
        samples, rate = sf.read(work / row.file)
        assert rate == RATE and samples.ndim == 1
        assert abs(len(samples) / RATE - row.seconds) < 1e-3
        assert 1.5 <= row.seconds <= 8.1
        assert abs(active_level(samples) + 26) < 0.5
        assert row.clean_snr > 30
    assert not list(work.rglob(".*.flac"))


def test_noise_has_its_level_and_events_are_strung_together(work):
    rows = {
        row.label: row
        for row in read_rows(work / "manifest.csv")
        if row.kind == "noise"
    }
    assert rows["rain"].split == "train" and rows["city"].split == "far"
    assert rows["city"].file.startswith("far/noise/city/")
    samples, _ = sf.read(work / rows["rain"].file)
    assert abs(10 * np.log10(np.mean(samples**2)) + 26) < 0.2
    stream, _ = sf.read(work / rows["tick"].file)
    assert len(stream) == 30 * RATE
    loud = np.abs(stream) > 0.01
    # Many separate ticks of 0.1 s.
    frames = loud[: len(loud) // 160 * 160].reshape(-1, 160).any(1)
    begins = (np.diff(frames.astype(int)) == 1).sum()
    assert 8 <= begins <= 250 and frames.mean() < 0.9


def test_validation_is_of_what_is_held_out_at_the_snrs_named(work):
    with open(work / "validation_far/validation_far.csv") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 10
    assert Counter(line["snr"] for line in lines) == {
        str(snr): 2 for snr in (-5.0, 0.0, 5.0, 10.0, 15.0)
    }
    assert {line["voice"] for line in lines} == {"v-somlai"}
    assert {line["noise"] for line in lines} == {"city"}
    assert {line["far"] for line in lines} == {"0", "1"}
    assert any(float(line["level_change"]) for line in lines)
    log = (work / "validation_far/log_validation_far.txt").read_text()
    assert log.splitlines()[0] == f"far_000 city {float(lines[0]['snr']):g}"
    for line in lines:
        noisy, clean = (
            sf.read(work / "validation_far" / kind / line["file"])[0]
            for kind in ("noisy", "clean")
        )
        assert len(noisy) == len(clean) and np.abs(noisy).max() < 1
        # Rooms and changes of level are in the target, too.
        change = float(line["level_change"])
        source, _ = sf.read(work / line["speech_file"])
        peak = np.abs(fftconvolve(source, clean[::-1])).max()
        like = peak / np.linalg.norm(clean)
        like /= np.sqrt(fftconvolve(source**2, np.ones(len(clean))).max())
        if not change:
            assert (like > 0.99) == (line["far"] == "0")
        else:
            ratio = [
                np.mean((noisy - clean)[part] ** 2)
                for part in (slice(2000), slice(-2000, None))
            ]
            found = 10 * np.log10(ratio[1] / ratio[0])
            assert abs(found - change) < 4
        if not change:
            noise = 10 * np.log10(np.mean((noisy - clean) ** 2))
            snr = active_level(clean) - noise
            assert abs(snr - float(line["snr"])) < 0.3


def test_pack_fits_and_holds_training_files_alone(work):
    pack = work / "pack"
    assert 0.2 * 2**20 < size_of(pack) <= 0.7 * 2**20
    lengths = {}
    with open(pack / "index.csv") as file:
        for row in csv.DictReader(file):
            start, length = float(row["start"]), float(row["length"])
            samples, rate = sf.read(pack / row["file"])
            assert start + length <= len(samples) / rate + 0.01
            assert start >= lengths.get(row["file"], 0)
            lengths[row["file"]] = start + length + 0.2
            part = samples[round(start * rate) : round((start + length) * rate)]
            gap = samples[round((start + length + 0.05) * rate) :][: rate // 10]
            assert np.square(part).mean() > 1e3 * np.square(gap).mean()
    # A training on a GPU reads it.
    read = read_pack(pack, jobs=1)
    packed = read_rows(pack / "sources.csv")
    for kind in ("speech", "noise"):
        seconds = [row.seconds for row in packed if row.kind == kind]
        assert abs(sum(map(len, read[kind])) / RATE - sum(seconds)) < 0.1
    assert {row.split for row in packed} == {"train"}
    assert {row.label for row in packed} == {"v-zoe-dupont", "rain", "tick"}


def test_pack_is_as_small_as_wanted(work, tmp_path):
    shutil.copytree(work, tmp_path / "work")
    rows = read_rows(work / "manifest.csv")
    pack = make_pack(tmp_path / "work", rows, 0.1)
    assert 0.03 * 2**20 < size_of(pack) <= 0.1 * 2**20
    assert not list(pack.rglob("tick*"))  # 30 s do not fit


def test_started_again_it_goes_on_and_changes_nothing(
    work, sources, tmp_path, capsys
):
    def stamps():
        return {
            path: path.stat().st_mtime_ns
            for path in work.rglob("*")
            if path.suffix in (".flac", ".opus")
        }

    before = stamps()
    stray = work / "speech" / "v-zoe-dupont" / "voices-fr-0099.flac"
    stray.write_bytes(b"of a build that was stopped")
    words = ["--sources", str(sources), "--pairs", "10", "--mib", "0.7"]
    main([str(work), *words, "--only", "noises"])
    assert stamps() == before
    out = capsys.readouterr().out
    assert "far: speech" in out and "1 voices, 1 languages" in out
    # Elsewhere, from a mirror, the same files.
    mirror = tmp_path / "mirrors" / "owner+voices"
    (mirror.parent).mkdir()
    table = yaml.safe_load(sources.read_text())
    voices = table["sources"][0]["repository"]
    subprocess.run(
        ["git", "clone", "-q", "--bare", voices, str(mirror)], check=True
    )
    table["sources"][0]["repository"] = "https://nowhere.invalid/owner/voices"
    table["sources"][1]["folder"] = str(sources.parent / "noises")
    other = tmp_path / "sources.yaml"
    other.write_text(yaml.safe_dump(table))
    again = tmp_path / "work"
    build(again, other, mirrors=mirror.parent, jobs=1, pairs=10, mib=0.7)
    for path in before:
        twin = again / path.relative_to(work)
        if path.suffix == ".flac":  # serial numbers of Ogg differ
            assert twin.read_bytes() == path.read_bytes()
        assert twin.exists()


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs Debian")
def test_packages_are_unpacked_with_the_archives_in_them(tmp_path, capsys):
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: game-data\nVersion: 1.2-1\nArchitecture: all\n"
        "Maintainer: A <a@b>\nDescription: a game\n"
    )
    noise = np.random.default_rng(0).standard_normal(2 * RATE) / 20
    sf.write(root / "rain.wav", noise, RATE)
    with zipfile.ZipFile(root / "public.zip", "w") as archive:
        archive.write(root / "rain.wav", "audio/wind.wav")
        archive.writestr("audio/unwanted.txt", "x")
    downloads = tmp_path / "work" / "downloads"
    downloads.mkdir(parents=True)
    package = downloads / "game-data_1.2-1_all.deb"
    subprocess.run(["dpkg-deb", "--build", root, package], check=True)
    by = {"author": "A", "licence": "CC0"}
    source = {
        "name": "game",
        "package": "game-data",
        "version": "1.1-1",
        "zip": "public.zip",
        "noise": [
            {"label": "rain", "files": "rain.wav", **by},
            {"label": "wind", "files": "audio/*.wav", **by},
        ],
    }
    held = {"languages": [], "noises": []}
    table = tmp_path / "sources.yaml"
    table.write_text(yaml.safe_dump({"held_out": held, "sources": [source]}))
    rows = build(tmp_path / "work", table, jobs=1)
    assert [(row.label, row.version) for row in rows] == [
        ("rain", "1.2-1"),
        ("wind", "1.2-1"),
    ]
    assert "game: 1.2-1 in place of 1.1-1" in capsys.readouterr().out
    whole, archive = package.read_bytes(), root / "public.zip"
    inner = bytearray(archive.read_bytes())
    inner[1000:1100] = bytes(100)
    archive.write_bytes(inner)
    subprocess.run(["dpkg-deb", "--build", root, package], check=True)
    for damaged in (whole[:-1000], package.read_bytes()):
        package.write_bytes(damaged)
        shutil.rmtree(tmp_path / "work" / "sources")
        with pytest.raises(UserError, match="game-data_1.2-1_all.deb is dam"):
            build(tmp_path / "work", table, jobs=1)


def test_folders_of_others_and_wrong_options_are_refused(sources, tmp_path):
    mine = tmp_path / "work" / "speech" / "anna" / "diary.flac"
    mine.parent.mkdir(parents=True)
    mine.touch()
    with pytest.raises(UserError, match="has a folder speech, but no corpora"):
        build(tmp_path / "work", sources, jobs=1)
    assert mine.exists()
    for wrong in (["--pairs", "0"], ["--mib", "0"], ["--mib", "nan"]):
        with pytest.raises(UserError, match=f"{wrong[0]} is {wrong[1]}"):
            main([str(tmp_path / "new"), "--sources", str(sources), *wrong])
    assert not any((tmp_path / "new").iterdir())
