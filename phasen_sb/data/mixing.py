"""Reads pairs of noisy and clean speech, or mixes them on the fly."""

import math
from io import BytesIO

import soundfile as sf
import torch
from speechbrain.processing.signal_processing import (
    compute_amplitude,
    dB_to_amplitude,
)

from phasen_sb.errors import UserError
from phasen_sb.utils.files import native_path


class PairLoader:
    """Reads the same part of a noisy and a clean file at ``sample_rate`` (Hz).

    The part has ``crop`` samples, or is the whole without it; the
    :class:`torch.Generator` that ``draw`` makes from the utterance's id
    chooses it.
    """

    def __init__(self, sample_rate: int, crop: int | None, draw):
        self.sample_rate = sample_rate
        self.crop = crop
        self.draw = draw

    def __call__(
        self, utterance: str, length: float, noisy_wav: str, clean_wav: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reads the noisy and the clean signal, each ``[samples]``.

        ``length`` is that of the files (s).
        """
        start, count = _draw_part(
            round(length * self.sample_rate), self.crop, self.draw(utterance)
        )
        return _read(noisy_wav, start, count), _read(clean_wav, start, count)


class MixLoader(PairLoader):
    """Reads a part of a clean file and adds noise to it.

    ``noises`` are the noise files with their lengths (samples). The
    signal-to-noise ratio is drawn uniformly from ``snr_low`` to ``snr_high``
    (dB).
    """

    #: Share of the utterances that are mixed.
    share = 1.0

    def __init__(
        self,
        sample_rate: int,
        crop: int | None,
        draw,
        noises: list[tuple[str, int]],
        snr_low: float,
        snr_high: float,
    ):
        super().__init__(sample_rate, crop, draw)
        self.noises = noises
        self.snr_low = snr_low
        self.snr_high = snr_high

    def __call__(
        self, utterance: str, length: float, clean_wav: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Makes one mixture, see :meth:`PairLoader.__call__`."""
        generator = self.draw(utterance)
        start, count = _draw_part(
            round(length * self.sample_rate), self.crop, generator
        )
        clean = _read(clean_wav, start, count)
        path, available = self.noises[
            _draw_integer(len(self.noises), generator)
        ]
        if available >= count:
            start = _draw_integer(available - count + 1, generator)
            noise = _read(path, start, count)
        else:
            start = _draw_integer(available, generator)
            whole = _read(path, 0, available).roll(-start)
            noise = whole.repeat(math.ceil(count / available))[:count]
        position = torch.rand((), generator=generator).item()
        snr = self.snr_low + position * (self.snr_high - self.snr_low)
        return mix_at_snr(clean, noise, snr)


class OtherNoiseLoader(MixLoader):
    """Reads a pair, or mixes its clean file with other noise.

    Pairs without noise always get other noise, of the rest half do.
    """

    share = 0.5

    def __call__(
        self, utterance: str, length: float, noisy_wav: str, clean_wav: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reads a pair or makes a mixture, see :meth:`PairLoader.__call__`."""
        # A generator of its own, so that choice and crop are independent.
        generator = self.draw(f"{utterance} noise")
        draw = torch.rand((), generator=generator)
        if noisy_wav == clean_wav or draw < self.share:
            return super().__call__(utterance, length, clean_wav)
        return PairLoader.__call__(
            self, utterance, length, noisy_wav, clean_wav
        )


def mix_at_snr(
    clean: torch.Tensor, noise: torch.Tensor, snr: float | torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Adds noise to speech of equal length, ``[samples]`` or ``[B, samples]``.

    ``snr`` is the ratio of their powers (dB), or ``[B, 1]`` of them. The noisy
    and the clean signal are returned; a mixture that exceeds full scale is
    attenuated together with its clean part. Silent speech gets no noise, and
    silent noise adds nothing.
    """
    speech_level = _measure_each(clean, "rms")
    noise_level = _measure_each(noise, "rms")
    wanted_level = speech_level / dB_to_amplitude(snr)
    # The floor is far below 24-bit resolution, so silence gets a gain of 0.
    gain = torch.where(
        noise_level > 1e-9, wanted_level / noise_level.clamp(min=1e-9), 0.0
    )
    noisy = clean + gain * noise
    peak = _measure_each(noisy, "peak").clamp(min=1.0)
    return noisy / peak, clean / peak


def _measure_each(signals: torch.Tensor, kind: str) -> torch.Tensor:
    """Measures levels: ``[1]``, or ``[B, 1]`` of a batch."""
    levels = compute_amplitude(signals, amp_type=kind)
    return levels if signals.ndim == 2 else levels[0]


def _draw_part(
    total: int, crop: int | None, generator: torch.Generator
) -> tuple[int, int]:
    if crop is None or crop >= total:
        return 0, total
    return _draw_integer(total - crop + 1, generator), crop


def _draw_integer(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))


def _read(path: str | BytesIO, start: int, count: int) -> torch.Tensor:
    source = path if isinstance(path, BytesIO) else native_path(path)
    samples, _ = sf.read(source, frames=count, start=start, dtype="float32")
    if len(samples) != count:
        raise changed_file_error(path, start, count)
    return torch.from_numpy(samples)


def changed_file_error(
    path: str | BytesIO, start: int, count: int
) -> UserError:
    """Makes the error of a file that lacks samples it had when prepared."""
    return UserError(
        f"{path} has changed since it was prepared: samples {start} to "
        f"{start + count} are not there; prepare the data again."
    )
