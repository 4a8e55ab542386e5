"""Microphones and loudspeakers, by way of PortAudio."""

import threading
from types import ModuleType

import numpy as np

from phasen_sb.errors import UserError

CLOSING_SECONDS = 2.0
WAYS = {"input": "max_input_channels", "output": "max_output_channels"}


def import_sounddevice() -> ModuleType:
    """Imports what talks to sound cards, which is an extra."""
    try:
        import sounddevice
    except ImportError as error:
        raise UserError(
            "Sound devices need the package sounddevice; install it with pip "
            'install "phasen_sb[live]", or give - for raw PCM.'
        ) from error
    except OSError as error:  # its wheel for Linux does not contain PortAudio
        raise UserError(
            "Sound devices need the library PortAudio; install it (Debian, "
            "Ubuntu: apt install libportaudio2), or give - for raw PCM."
        ) from error
    return sounddevice


def list_devices() -> str:
    """A table of all devices, with their numbers."""
    sd = import_sounddevice()
    lines = []
    for device in sd.query_devices():
        ways = [
            f"{device[channels]} {way}" + "s" * (device[channels] > 1)
            for way, channels in WAYS.items()
            if device[channels]
        ]
        defaults = [
            f"default {way}"
            for way, index in zip(WAYS, sd.default.device, strict=True)
            if index == device["index"]
        ]
        api = sd.query_hostapis(device["hostapi"])["name"]
        rate = f"{device['default_samplerate']:.0f} Hz"
        facts = ", ".join([api, *ways, rate, *defaults])
        lines.append(f"{device['index']:3}  {device['name']} ({facts})")
    return "\n".join(lines) or "There are no sound devices."


class DeviceLost(Exception):
    """A device does not work any more."""

    def __init__(self, device: "_Device", error: Exception | None = None):
        super().__init__(device.name)
        self._device, self._error = device, error

    def explain(self) -> UserError:
        """Says so, and what other devices there are; all must be closed."""
        return self._device.explain_loss(self._error)


class _Device:
    """An open device.

    ``device`` is a number, part of a name, or None. It is opened at ``rate``
    (Hz), or at its own if it does not take that.
    """

    way: str
    buffered = 0.0  # seconds for which it needs room
    is_stuck = False

    def __init__(self, device: str | None, rate: int):
        self._sd = import_sounddevice()
        info = self._find(device)
        self.name = info["name"]
        most = info[WAYS[self.way]]
        rates = [rate, info["default_samplerate"]]
        high = info[f"default_high_{self.way}_latency"]
        kind = getattr(self._sd, f"{self.way.title()}Stream")
        reason = None
        # Speech has one channel, but a loudspeaker's two get the same.
        preferred = (1, 2, most) if self.way == "input" else (2, 1, most)
        for rate, channels in [(r, c) for r in rates for c in preferred]:
            settings = {
                "device": info["index"],
                "channels": min(channels, most),
                "samplerate": rate,
                "dtype": "float32",
                "latency": max(high, self.buffered),
            }
            stream = None
            try:
                stream = kind(**settings)
                stream.start()
            except (self._sd.PortAudioError, ValueError) as error:
                reason = reason or error
                if stream is not None:  # else the next attempt finds it in use
                    stream.close()
                continue
            self._stream = stream
            self.rate = int(rate)
            self.latency = 1000 * stream.latency
            return
        raise UserError(
            f"The {self.way} device {self.name} cannot be opened "
            f"({explain(reason)}); {self._list()}."
        )

    def _find(self, device):
        wanted = int(device) if device and device.isdecimal() else device
        try:
            info = self._sd.query_devices(wanted, self.way)
            if info[WAYS[self.way]]:
                return info
        except (ValueError, self._sd.PortAudioError):
            pass
        if wanted is None:
            raise UserError(
                f"There is no default {self.way} device; {self._list()}."
            )
        raise UserError(
            f"{device!r} names no {self.way} device, or several; "
            f"{self._list()}."
        )

    def _list(self):
        names = [
            f"{info['index']} ({info['name']})"
            for info in self._sd.query_devices()
            if info[WAYS[self.way]]
        ]
        if not names:
            return (
                f"there is none for {self.way}: connect one, or give - for "
                "raw PCM"
            )
        return f"give --{self.way} " + ", ".join(names)

    def explain_loss(self, error: Exception | None = None) -> UserError:
        """What to say when the device stopped working, and all are closed."""
        if not self.is_stuck:
            # PortAudio looks for devices when it begins.
            self._sd._terminate()
            self._sd._initialize()
        reason = f" ({explain(error)})" if error else ""
        return UserError(
            f"The {self.way} device {self.name} is gone{reason}; "
            f"{self._list()}."
        )

    def close(self) -> None:
        """Stops the device, at once.

        A driver may wait for a device that is gone forever; then ``is_stuck``.
        """
        thread = threading.Thread(
            target=self._stream.close, args=(True,), daemon=True
        )
        thread.start()
        thread.join(CLOSING_SECONDS)
        self.is_stuck = thread.is_alive()


class DeviceInput(_Device):
    """A microphone."""

    way = "input"
    is_live = True
    note = ""
    overflows = 0

    def read(self, count: int) -> np.ndarray:
        """Waits for the next ``count`` samples, float32."""
        try:
            block, has_overflowed = self._stream.read(count)
        except self._sd.PortAudioError as error:
            raise DeviceLost(self, error) from error
        self.overflows += has_overflowed
        return block.mean(1)


class DeviceOutput(_Device):
    """A loudspeaker or a virtual device."""

    way = "output"
    is_open = True
    underflows = 0

    def __init__(self, device: str | None, rate: int, block: float):
        self.buffered = 2 * block
        super().__init__(device, rate)
        # Blocks of so many seconds may come late by one.
        self.write(np.zeros(int(self.rate * block), "float32"))
        self.underflows = 0

    def write(self, samples: np.ndarray) -> None:
        """Waits until ``[n]`` are on their way."""
        block = np.repeat(samples[:, None], self._stream.channels, 1)
        try:
            has_underflowed = self._stream.write(np.ascontiguousarray(block))
        except self._sd.PortAudioError as error:
            raise DeviceLost(self, error) from error
        self.underflows += has_underflowed


def explain(error: Exception) -> str:
    """The reason in an error of PortAudio, without its number."""
    return str(error).split(" [PaErrorCode")[0].rstrip(".")
