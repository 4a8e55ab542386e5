"""`phasen live` between PulseAudio's null devices, as a user would hear it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers.causal_model import write_live_model
from helpers.signals import noise

from phasen_sb import StreamingEnhancer

RATE = 16000
#: Devices of ALSA, which PortAudio lists, that are those of PulseAudio.
ALSA = """
pcm.mic { type pulse device "mic.monitor" hint { show on description "mic" } }
pcm.loud { type pulse device "loud" hint { show on description "loud" } }
"""


def check_packages():
    """Says what is missing here."""
    for program in ("pulseaudio", "pactl", "paplay", "parec"):
        if not shutil.which(program):
            return f"{program} is not installed (pulseaudio, pulseaudio-utils)"
    if not list(Path("/usr/lib").glob("*/alsa-lib/*_pcm_pulse.so")):
        return "ALSA's plugin for PulseAudio is not installed"
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError) as error:
        return str(error)
    return None


@pytest.fixture
def sound():
    """The environment of a sound server with two null devices, and it."""
    if missing := check_packages():
        pytest.skip(missing)
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/socket"
        Path(folder, ".asoundrc").write_text(ALSA)
        environment = os.environ | {
            "HOME": folder,
            "XDG_RUNTIME_DIR": folder,
            "PULSE_SERVER": f"unix:{socket}",
        }
        protocol = f"module-native-protocol-unix socket={socket}"
        sink = f"module-null-sink norewinds=1 rate={RATE} channels=1 sink_name="
        loads = (protocol, sink + "mic", sink + "loud")
        server = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"]
            + [word for load in loads for word in ("-L", load)],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            ask = ["pactl", "list", "short", "sinks"]
            for _ in range(100):
                answer = subprocess.run(
                    ask, env=environment, capture_output=True
                )
                if b"loud" in answer.stdout:
                    break
                time.sleep(0.1)
            else:
                pytest.skip("PulseAudio does not start here")
            yield environment, server
        finally:
            server.kill()
            server.wait()


@pytest.fixture
def running():
    """Processes that do not outlive the test."""
    processes = []
    yield processes
    for process in processes:
        process.kill()


def correlate(part, whole):
    """The correlation of a part with what resembles it most."""
    size = len(part) + len(whole)
    spectra = np.fft.rfft(whole, size) * np.fft.rfft(part, size).conj()
    products = np.fft.irfft(spectra, size)[: len(whole) - len(part) + 1]
    sums = np.cumsum(np.pad(whole**2, (1, 0)))
    powers = sums[len(part) :] - sums[: -len(part)]
    return (products / np.sqrt(powers * np.sum(part**2) + 1e-9)).max()


def enhance_as_heard(model, wave, heard):
    """Enhances a wave, which may have begun anywhere in the live hops."""
    stream = StreamingEnhancer.from_pretrained(model, engine="pytorch")
    hop, delay = stream.model.stft.hop_length, stream.delay
    shifted = np.stack([np.pad(wave[:2500], (k, hop - k)) for k in range(hop)])
    starts = stream.process(shifted)[:, delay + hop : 2500]
    shift = np.argmax([correlate(start, heard) for start in starts])
    stream.reset()
    silence = 60 * hop + shift
    return stream.process(np.pad(wave, (silence, delay)))[silence + delay :]


def play(folder, environment):
    """Plays to the microphone; returns what the loudspeaker gives."""
    record = ["parec", "--device=loud.monitor", "--raw", "--format=s16le"]
    with open(folder / "heard.raw", "wb") as heard:
        recorder = subprocess.Popen(
            [*record, f"--rate={RATE}", "--channels=1"],
            env=environment,
            stdout=heard,
        )
        player = ["paplay", "--device=mic", str(folder / "noisy.wav")]
        subprocess.run(player, env=environment, check=True, timeout=60)
        time.sleep(1.5)
        recorder.send_signal(signal.SIGTERM)
        recorder.wait()
    return np.fromfile(folder / "heard.raw", "<i2") / 2**15


def test_what_is_played_to_the_microphone_is_heard(sound, tmp_path, running):
    environment, server = sound
    model = write_live_model(tmp_path / "live")
    wave = 0.1 * noise(RATE).numpy()
    sf.write(tmp_path / "noisy.wav", wave, RATE)
    phasen = [sys.executable, "-m", "phasen_sb.cli", "live"]
    options = ["--input", "mic", "--output", "loud", "--block", "128"]
    live = subprocess.Popen(
        [*phasen, *options, "--model", str(model)],
        env=environment,
        stderr=subprocess.PIPE,
    )
    running.append(live)
    begun = live.stderr.readline().decode()
    assert "mic (16000 Hz) to loud (16000 Hz), latency" in begun
    time.sleep(1)  # the first blocks take long
    for _ in range(3):  # on a busy machine there are gaps
        heard = play(tmp_path, environment)
        likeness = correlate(enhance_as_heard(model, wave, heard), heard)
        if likeness > 0.99:
            break
    assert likeness > 0.99
    assert correlate(wave, heard) < 0.2, "nothing was enhanced"
    # Then the sound server, and with it the microphone, is gone.
    server.kill()
    said = live.communicate(timeout=60)[1].decode()
    assert live.returncode == 1
    last = said.splitlines()[-1]
    assert "device mic is gone" in last or "device loud is gone" in last
    assert "connect one, or give - for raw PCM." in last, said


def test_devices_are_listed_and_wrong_ones_named_or_closed(sound):
    environment, _ = sound

    def run(*code):
        result = subprocess.run(
            [sys.executable, *code], env=environment, capture_output=True
        )
        return (result.stdout + result.stderr).decode()

    listed = run("-m", "phasen_sb.cli", "live", "--list")
    assert "mic (ALSA, " in listed and "default output" in listed
    said = run(
        "-c",
        "from phasen_sb.commands.live_devices import DeviceInput\n"
        "DeviceInput('telephone', 16000)",
    ).splitlines()[-1]
    assert "'telephone' names no input device, or several; give --inp" in said
    assert "(mic), " in said
    said = run(
        "-c",
        "from phasen_sb.commands.live_devices import DeviceInput\n"
        "import sounddevice as sd\n"
        "start, opened = sd.InputStream.start, []\n"
        "def fail_once(stream):\n"
        "    opened.append(stream)\n"
        "    if len(opened) == 1:\n"
        "        raise sd.PortAudioError('busy')\n"
        "    start(stream)\n"
        "sd.InputStream.start = fail_once\n"
        "DeviceInput('mic', 16000)\n"
        "print([stream.closed for stream in opened])",
    )
    assert said.splitlines()[-1] == "[True, False]"
