"""`phasen live` between pipes: real processes, and what they say."""

import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers.causal_model import write_live_model
from helpers.processes import heed_ctrl_c
from helpers.signals import noise

from phasen_sb import StreamingEnhancer
from phasen_sb.cli import main
from phasen_sb.commands.live_meter import LiveMeter
from phasen_sb.commands.live_pcm import PcmInput, PcmOutput
from phasen_sb.inference.live import LiveEnhancer
from phasen_sb.inference.streaming_resampling import StreamingResampler


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_live_model(tmp_path_factory.mktemp("models") / "live")


def command(*options):
    ends = ["--input", "-", "--output", "-"]
    module = [sys.executable, "-m", "phasen_sb.cli", "live"]
    return [*module, *ends, *map(str, options)]


def pcm(wave):
    return np.rint(wave * 2**15).astype("<i2").tobytes()


def speech(samples):
    return 0.1 * noise(samples).numpy()


def test_pipes_give_what_a_stream_gives(model):
    data = pcm(speech(5000))
    result = subprocess.run(
        command("--model", model, "--strength", "0.7"),
        input=data + b"\x7f",
        capture_output=True,
    )
    assert result.returncode == 0, result.stderr
    out = np.frombuffer(result.stdout, "<i2") / 2**15
    wave = np.frombuffer(data, "<i2").astype("float32") / 2**15
    stream = StreamingEnhancer.from_pretrained(model, block_samples=256)
    delay = stream.delay
    assert len(out) == len(wave) + delay
    padded = np.pad(wave, (0, -len(wave) % 256))
    expected = np.concatenate([stream.process(padded), stream.flush()])
    expected = 0.7 * expected[delay:][:5000] + 0.3 * wave
    assert not out[:delay].any()
    assert np.abs(out[delay:] - expected).max() < 1 / 2**15
    assert np.abs(expected - wave).max() > 10 / 2**15, "nothing was enhanced"
    first, *_, last = result.stderr.decode().splitlines()
    assert "(16000 Hz), latency 48 ms: 48 of the model, 0 of blocks" in first
    assert last.startswith("0.3 s of sound, latency 48 ms, load ")
    assert ", 0 blocks dropped, half a sample at the end" in last


def test_ctrl_c_and_a_reader_that_leaves_end_it(model):
    """Both processes start at once, because that takes seconds."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    stopped, left = (
        subprocess.Popen(
            command("--model", model, "--rate", rate),
            stderr=subprocess.PIPE,
            preexec_fn=heed_ctrl_c,
            **pipes,
        )
        for rate in (48000, 16000)
    )
    stopped.stdin.write(pcm(speech(48000)))
    stopped.stdin.flush()  # and it stays open, like a microphone
    out = stopped.stdout.read(2 * 40000)
    time.sleep(0.5)
    stopped.send_signal(signal.SIGINT)
    out += stopped.stdout.read()
    said = stopped.stderr.read().decode()
    assert stopped.wait() == 0, said
    assert said.splitlines()[-1].startswith("1.0 s of sound, latency 51 ms")
    assert len(out) == 2 * 3 * (16000 + 512)
    left.stdout.close()
    os.set_blocking(left.stdin.fileno(), False)
    data = pcm(speech(16000))
    with pytest.raises(BrokenPipeError):
        while True:
            try:
                left.stdin.write(data)
                left.stdin.flush()
            except BlockingIOError:
                time.sleep(0.1)
    said = left.stderr.read().decode()
    assert left.wait() == 0 and "Traceback" not in said
    assert "of sound, latency 48 ms" in said.splitlines()[-1]


class Stdin:
    """A file in the place of a pipe."""

    def __init__(self, path, data):
        path.write_bytes(data)
        self._file = open(path, "rb")

    def fileno(self):
        return self._file.fileno()


@pytest.mark.parametrize(
    "data, options, sentence",
    [
        (b"", [], "There is nothing on stdin"),
        (b"RIFF1234WAVE", [], "stdin is an audio file, not raw PCM; use"),
        (b"1234", ["--rate", "0"], "--rate is 0; it must be at least 1000"),
        (b"1234", ["--block", "9999"], "--block is 9999.0 ms; it must be"),
        (b"1234", ["--strength", "2"], "The strength is 2.0; it must be"),
        (b"1234", ["--model", "default"], "model needs the whole utterance"),
        (b"1234", ["--model", "lvie"], "of that name ships with this version"),
        (b"1234", ["--output", "no such"], None),
    ],
)
def test_wrong_use_gets_a_sentence(
    model, tmp_path, monkeypatch, capfd, data, options, sentence
):
    monkeypatch.setattr("sys.stdin", Stdin(tmp_path / "in", data))
    ends = ["--input", "-", "--output", "-", "--model", str(model)]
    assert main(["live", *ends, *options]) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    if sentence is None:  # without PortAudio, without devices, or with
        sentence = "no such" if "no such" in said else "Sound devices need the"
    assert sentence in said and said.endswith((".", ",")), said


def test_both_ends_are_closed_even_if_one_cannot_be(
    model, tmp_path, monkeypatch, capfd
):
    closed = []

    def close(end):
        closed.append(type(end))
        raise RuntimeError("stuck")

    for kind in (PcmInput, PcmOutput):
        monkeypatch.setattr(kind, "close", close)
    monkeypatch.setattr("sys.stdin", Stdin(tmp_path / "in", b""))
    with pytest.raises(RuntimeError, match="stuck"):
        main(["live", "--input", "-", "--output", "-", "--model", str(model)])
    assert set(closed) == {PcmInput, PcmOutput}


@pytest.mark.parametrize("rate, new_rate", [(48000, 16000), (16000, 44100)])
def test_resampled_blocks_are_the_whole_resampled(rate, new_rate):
    wave = noise(rate // 5).numpy()
    stream = StreamingResampler(rate, new_rate)
    parts, heard = [], 0
    for size in [1, 0, 700, 3, rate // 10, rate // 10 - 704]:
        parts.append(stream.process(wave[heard : heard + size]))
        heard += size
        waiting = heard / rate - sum(map(len, parts)) / new_rate
        assert waiting <= stream.latency + 1 / rate + 1 / new_rate
    out = np.concatenate([*parts, stream.finish()])
    whole = StreamingResampler(rate, new_rate)
    expected = np.concatenate([whole.process(wave), whole.finish()])
    assert len(out) == new_rate // 5 and stream.latency < 0.002
    assert np.allclose(out, expected, atol=1e-6)
    seconds = np.arange(rate) / rate
    tone = np.sin(2 * np.pi * 1000 * seconds)
    stream = StreamingResampler(rate, new_rate)
    out = np.concatenate([stream.process(tone), stream.finish()])
    ideal = np.sin(2 * np.pi * 1000 * np.arange(new_rate) / new_rate)
    assert np.abs(out - ideal)[100:-100].max() < 2e-3


def test_latency_is_when_an_impulse_comes_out(model):
    stream = StreamingEnhancer.from_pretrained(model, block_samples=512)
    live = LiveEnhancer(stream, 48000, 48000, strength=0)
    assert live.latency == pytest.approx(48 + 16 + 2 * 1.52, abs=0.05)
    wave = np.zeros(9600, "float32")
    wave[4000] = 1
    out = np.concatenate([live.process(wave), live.flush()])
    # Of the blocks' time nothing is seen here: they come at once.
    assert out.argmax() == 4000 + 3 * stream.delay
    assert len(out) == 9600 + 3 * stream.delay


def test_samples_that_are_no_numbers_count_as_zero(model):
    wave = speech(4800).astype("float32")
    wave[1000:1003] = np.nan, np.inf, -np.inf
    silent = np.where(np.isfinite(wave), wave, np.float32(0))
    stream = StreamingEnhancer.from_pretrained(model, engine="pytorch")
    outputs = []
    for given in (wave, silent):
        live = LiveEnhancer(stream, 48000, 16000, strength=0.5)
        outputs.append(np.concatenate([live.process(given), live.flush()]))
    assert outputs[1].any() and np.array_equal(*outputs)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_meter_shows_levels_and_warns():
    screen = Terminal()
    meter = LiveMeter(64.0, screen)
    loud, low = np.full(4000, 0.5), np.full(4000, 0.05)
    meter.add(loud, low, 0.25, 0.05, 0)
    assert screen.getvalue().endswith(
        "in   -6 dB, out  -26 dB, latency 64 ms, load  20 %, dropped 0"
    )
    meter.add(loud, low, 0.25, 0.5, 3)
    meter.add(loud, low, 0.25, 0.5, 9)  # soon after: no second warning
    said = screen.getvalue()
    assert said.count("does not keep up: a second of sound takes 2.00 s") == 1
    assert "3 blocks were dropped so far; a longer --block" in said
    meter.finish(2, 0, "")
    said = screen.getvalue().splitlines()[-1]
    assert "load 140 % (at most 200 % in 0.25 s), 9 blocks dropped" in said
    assert said.endswith("2 gaps in the input.")
    slow = LiveMeter(64.0, Terminal())
    slow.add(loud, low, 0.25, 0.05, 1)
    assert "output takes sound more slowly than it comes" in (
        slow._out.getvalue()
    )
