"""`phasen enhance` on files, folders and pipes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers.small_model import (
    SPEECH,
    decibels,
    enhancer_of,
    names,
    phasen,
    write_noise,
    write_small_model,
)

from phasen_sb.archives.inputs import find_inputs
from phasen_sb.archives.jobs import enhance_files
from phasen_sb.audio.finding import describe_others
from phasen_sb.cli import main
from phasen_sb.errors import UserError
from phasen_sb.inference.output_paths import name_outputs


@pytest.fixture(scope="module")
def identity():
    return enhancer_of(lambda wave: wave)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return write_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.mark.parametrize("jobs", [1, 2])
def test_folder_is_mirrored_resumed_and_survives_a_bad_file(
    identity, tmp_path, jobs
):
    noisy = tmp_path / "noisy"
    (noisy / "deep").mkdir(parents=True)
    for name in ("a.wav", "deep/b.flac", "c.enhanced.wav"):
        sf.write(noisy / name, np.zeros(20000), 16000)
    (noisy / "bad.wav").write_text("no sound")
    pairs = name_outputs(find_inputs([noisy])[0], tmp_path / "out")
    report = enhance_files(identity, pairs, jobs, progress=False)
    assert {file.target.name for file in report.done} == {"a.wav", "b.flac"}
    assert list(report.failed) == [noisy / "bad.wav"]
    (tmp_path / "out" / "deep" / "b.flac").unlink()
    report = enhance_files(identity, pairs, jobs, progress=False)
    assert [file.target.name for file in report.done] == ["b.flac"]
    assert report.kept == [tmp_path / "out" / "a.wav"]
    later = time.time() + 10
    os.utime(noisy / "a.wav", (later, later))  # recorded again since
    report = enhance_files(identity, pairs, jobs, progress=False)
    assert "--overwrite" in report.failed[noisy / "a.wav"]


def test_jobs_with_outputs_of_one_stem_keep_apart(tmp_path):
    together = threading.Barrier(2, timeout=30)

    def louder(wave):
        together.wait()
        return 4 * wave

    rng = np.random.default_rng(0)
    waves = {name: rng.uniform(-1, 1, 80000) for name in ("t.wav", "t.flac")}
    for name, wave in waves.items():
        sf.write(tmp_path / name, wave, 16000)
    pairs = name_outputs(find_inputs([tmp_path])[0], tmp_path / "out")
    report = enhance_files(
        enhancer_of(louder), pairs, 2, progress=False, normalize=True
    )
    assert not report.failed
    assert names(tmp_path / "out") == ["t.flac", "t.wav"]
    for name, wave in waves.items():
        enhanced = sf.read(tmp_path / "out" / name)[0]
        assert np.allclose(enhanced, wave / np.abs(wave).max(), atol=1e-4)


@pytest.mark.parametrize("pattern", ["", "*.wav"])
def test_folder_or_pattern_with_a_single_file_is_resumed(
    model_folder, tmp_path, capsys, pattern
):
    noisy = tmp_path / "noisy"
    noisy.mkdir()
    write_noise(noisy / "only.wav", 4000)
    command = ["enhance", str(noisy / pattern), "--model", str(model_folder)]
    assert main(command) == 0
    assert names(noisy) == ["only.enhanced.wav", "only.wav"]
    before = (noisy / "only.enhanced.wav").stat().st_mtime_ns
    capsys.readouterr()
    assert main(command) == 0
    assert "1 of 1 outputs were there already" in capsys.readouterr().err
    assert (noisy / "only.enhanced.wav").stat().st_mtime_ns == before


def test_inputs_that_cannot_be_told_apart(tmp_path):
    for name in ("a.wav", "a.flac"):
        sf.write(tmp_path / name, np.zeros(10), 16000)
    assert len(find_inputs([f"{tmp_path}/*.wav", tmp_path])[0]) == 2
    with pytest.raises(UserError, match="would both be written to"):
        name_outputs(find_inputs([tmp_path])[0], "out", "flac")
    with pytest.raises(UserError, match="No file matches"):
        find_inputs([f"{tmp_path}/*.mp3"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no audio files"):
        find_inputs([tmp_path / "empty"])


def test_any_name_is_enhanced(identity, tmp_path):
    noisy, out = tmp_path / "noisy", tmp_path / "out"
    stems = [b"caf\xe9", b"x" * 251, "\u3042".encode() * 83]
    files = [os.fsdecode(stem + b".wav") for stem in stems]
    noisy.mkdir()
    for name in files:
        sf.write(os.fsencode(noisy / name), np.zeros(99), 16000, format="WAV")
    for options in ({}, {"normalize": True, "overwrite": True}):
        pairs = name_outputs(find_inputs([noisy])[0], out)
        report = enhance_files(identity, pairs, progress=False, **options)
        assert not report.failed and len(report.done) == 3
    assert names(out) == sorted(files)
    # Its output beside it would have 260 bytes.
    source = noisy / files[1]
    report = enhance_files(identity, name_outputs([(source, source)]))
    assert "more than 255 bytes; give" in report.failed[source]


def test_no_error_in_one_file_stops_the_others(tmp_path):
    def fail_once(wave):
        if wave.abs().max() > 0.5:
            raise RuntimeError("out of memory")
        return wave

    for name, level in (("a", 0.9), ("b", 0.1)):
        sf.write(
            tmp_path / f"{name}.wav", np.full(20000, level), 16000, "FLOAT"
        )
    pairs = name_outputs(find_inputs([tmp_path])[0], tmp_path / "out")
    report = enhance_files(enhancer_of(fail_once), pairs, progress=False)
    reason = report.failed[tmp_path / "a.wav"]
    assert reason.endswith(
        "a.wav cannot be enhanced: RuntimeError: out of memory"
    )
    assert names(tmp_path / "out") == ["b.wav"]


def test_links_are_followed_and_what_is_left_out_is_known(tmp_path):
    folder, disk = tmp_path / "in", tmp_path / "disk"
    for path in (folder, disk):
        path.mkdir()
    for path in (folder / "a.bwf", disk / "b.mpga", folder / "o.enhanced.wav"):
        path.touch()
    (folder / "day").symlink_to(disk)
    (disk / "back").symlink_to(folder)
    (folder / "gone.wav").symlink_to("nowhere")
    for name in "xyzw":
        (folder / f"{name}.AVI").touch()
    found, others = find_inputs([folder])
    assert [str(inner) for _, inner in found] == ["a.bwf", "day/b.mpga"]
    assert describe_others(others) == (
        f"1 x link to nothing ({folder}/gone.wav), 4 x .avi ({folder}/w.AVI, "
        f"{folder}/x.AVI, {folder}/y.AVI, ...), 1 x link to a folder that "
        f"it is in ({folder}/day/back), 1 x output of an earlier run "
        f"({folder}/o.enhanced.wav)"
    )


def test_outputs_never_become_inputs(
    model_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write_noise(tmp_path / "a.wav", 400)
    (tmp_path / "b.avi").touch()
    model = ["--model", str(model_folder)]
    for _ in range(2):
        assert main(["enhance", ".", "-o", "out", *model]) == 0
    assert (
        "Left out: 1 x .avi (b.avi), 1 x folder of" in capsys.readouterr().err
    )
    assert names(tmp_path / "out") == ["a.wav"]
    assert main(["enhance", "**/*.wav", "-o", "out", *model]) == 0
    assert main(["enhance", "a.wav", *model]) == 0
    assert main(["enhance", "a.wav", "a.enhanced.wav", *model]) == 0
    assert "earlier run (a.enhanced.wav)" in capsys.readouterr().err
    top = ["a.enhanced.wav", "a.wav", "b.avi", "out"]
    assert names(tmp_path) == top
    os.mkdir("linked")
    os.link("a.wav", "linked/a.wav")
    for words, sentence in (
        ([".", "-o", "."], "is both an input and the output folder"),
        (["out", ".", "-o", "out"], "is both an input and the output folder"),
        (["*.wav", "-o", "."], "a.wav is an input, which the output of"),
        (
            ["out", "-o", "o.flac/", "--format", "x"],
            "The format 'x' is unknown",
        ),
        ([".", "-o", "linked"], "is the input itself"),
        (["a.wav", "-o", "o.avi"], "files of the kind .avi cannot be written"),
        ([".", "-o", "o.flac"], "o.flac names one file, but there are"),
        ([""], "The argument after enhance is empty"),
        (["a.wav", "--output="], "The argument after --output= is empty"),
    ):
        assert main(["enhance", *words, *model]) == 1
        assert sentence in capsys.readouterr().err
    assert names(tmp_path) == [*top[:3], "linked", "out"]


def test_a_dot_in_a_name_is_not_always_a_suffix(identity, tmp_path):
    for name in ("rec", "Dr. No", "2024.11.27"):
        sf.write(tmp_path / name, np.zeros(99), 16000, format="WAV")
        result = identity.enhance_file(tmp_path / name)
        assert result.target.name == f"{name}.enhanced"
        assert sf.info(result.target).format == "WAV"
    pair = (tmp_path / "Dr. No", Path("Dr. No"))
    [(_, target)] = name_outputs([pair], "out", "flac")
    assert target == Path("out/Dr. No.flac")


def test_command_enhances_a_folder_with_a_bad_file(
    model_folder, tmp_path, capsys
):
    noisy, out = tmp_path / "noisy", tmp_path / "out"
    noisy.mkdir()
    speech, rate = sf.read(SPEECH[0])
    sf.write(noisy / "left.wav", speech[:rate], rate)
    sf.write(noisy / "both.wav", np.stack([speech, speech], 1), 2 * rate)
    sf.write(tmp_path / "extra.wav", speech[:rate], rate)
    (noisy / "notes.wav").write_text("no sound")
    command = ["enhance", str(noisy), f"{tmp_path}/*.wav", "-o", str(out)]
    command += ["--model", str(model_folder), "--device", "cpu"]
    command += ["--format", "flac", "--jobs", "2", "--strength", "0.9"]
    assert main(command) == 1
    lines = capsys.readouterr().err.splitlines()
    assert sum("real-time factor" in line for line in lines) == 3
    assert lines[-2] == "1 of 4 files failed:"
    assert lines[-1].startswith(f"{noisy / 'notes.wav'} cannot be decoded")
    assert names(out) == ["both.flac", "extra.flac", "left.flac"]
    info = sf.info(out / "both.flac")
    assert (info.samplerate, info.channels) == (2 * rate, 2)
    assert (info.frames, info.subtype) == (len(speech), "PCM_16")
    before = sf.read(out / "left.flac")[0]
    (out / "left.flac").unlink()
    (noisy / "notes.wav").unlink()
    assert main([*command, "--device", "cpu,cpu"]) == 0
    after = sf.read(out / "left.flac")[0]
    assert decibels(after - before, before) < -30  # bf16, if the CPU has it
    lines = capsys.readouterr().err.splitlines()
    assert "2 of 3 outputs were there already" in lines[-1]
    assert names(out) == ["both.flac", "extra.flac", "left.flac"]


def test_one_file_is_not_overwritten_unless_told(
    model_folder, tmp_path, capsys
):
    source = write_noise(tmp_path / "talk.wav", 8000)
    command = ["enhance", str(source), "--model", str(model_folder)]
    for status, options in ((0, []), (1, []), (0, ["--overwrite"])):
        assert main(command + options) == status
        message = capsys.readouterr().err
        assert ("exists already; give --overwrite" in message) == bool(status)
        assert names(tmp_path) == ["talk.enhanced.wav", "talk.wav"]


def test_ctrl_c_leaves_whole_files_and_the_next_run_goes_on(
    model_folder, tmp_path
):
    noisy, out = tmp_path / "noisy", tmp_path / "out"
    noisy.mkdir()
    write_noise(noisy / "a.wav", 4000)
    write_noise(noisy / "b.wav", 16000 * 300)
    command = ["enhance", noisy, "-o", out, "--model", model_folder]
    process = subprocess.Popen(
        [sys.executable, "-m", "phasen_sb.cli", *map(str, command)],
        stderr=subprocess.PIPE,
        text=True,
        # Shells ignore Ctrl-C in what they start in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(out.glob(".b.wav*")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=120)
    assert process.returncode == 130
    assert message.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in message
    assert names(out) == ["a.wav"]
    assert main([*map(str, command), "--strength", "0"]) == 0
    assert names(out) == ["a.wav", "b.wav"]
    first = sf.read(noisy / "a.wav")[0]
    assert not np.array_equal(sf.read(out / "a.wav")[0], first), "made anew"


def test_command_streams_from_stdin_to_stdout(model_folder, tmp_path):
    speech, rate = sf.read(SPEECH[0], dtype="int16")
    sf.write(tmp_path / "in.wav", speech, rate)
    stream = bytearray((tmp_path / "in.wav").read_bytes())
    stream[40:44] = b"\xff" * 4  # A recorder that pipes knows no length.
    result = phasen(
        *("enhance", "-", "--model", model_folder, "--strength", "0"),
        input=bytes(stream),
    )
    assert result.returncode == 0, result.stderr
    (tmp_path / "out.wav").write_bytes(result.stdout)
    assert np.array_equal(
        sf.read(tmp_path / "out.wav", dtype="int16")[0], speech
    )


def test_command_with_a_wrong_model_gets_a_sentence(tmp_path, capsys):
    typo = ["enhance", str(SPEECH[0]), "--model", str(tmp_path / "modle")]
    assert main(typo) == 1
    assert "There is no folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["-", "a.wav"], "Give - (stdin) alone"),
        (["a.wav", "--jobs", "0"], "--jobs is 0; it must be at least 1."),
        (["a.wav", "-o", "-", "--format", "mp3"], "stdout takes WAV, not mp3"),
        (["a.wav", "b.wav", "-o", "-"], "Only one file can go to stdout"),
        (["a.wav", "--strength", "2"], "strength is 2.0; it must be"),
        (["a.wav", "--format", "mp5"], "The format 'mp5' is unknown"),
        (["a.wav", "--device", "cpu,meta"], "'cpu,meta' are of different"),
        (["a.wav", "--device", "cpu,"], "device '' cannot be used"),
        (["no/*.wav"], "No file matches no/*.wav"),
        (["pipe.wav"], "pipe.wav is not a regular file"),
    ],
)
def test_wrong_arguments_get_a_sentence(
    model_folder, tmp_path, monkeypatch, capsys, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b.wav"):
        write_noise(tmp_path / name, 100)
    os.mkfifo("pipe.wav")
    assert main(["enhance", "--model", str(model_folder), *arguments]) == 1
    message = capsys.readouterr().err
    assert sentence in message and message.count("\n") == 1
    assert names(tmp_path) == ["a.wav", "b.wav", "pipe.wav"]
