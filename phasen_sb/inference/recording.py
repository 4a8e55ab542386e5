"""Enhances a recording of any rate, channel count and length.

All that is assumed of the model: it maps ``[1, samples]`` at its own rate. On
devices other than the CPU a PHASEN enhances chunks in batches, see
:mod:`phasen_sb.inference.batching`.
Global layer norms, if it has any, are given the recording's statistics
(:class:`phasen_sb.inference.norm_statistics.NormStatistics`).
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy

import numpy as np
import torch
from torch import nn

from phasen_sb.audio.reading import AudioFile, check_whole, read_blocks
from phasen_sb.inference.batching import BatchedModel
from phasen_sb.inference.chunk_plan import ChunkPlan
from phasen_sb.inference.chunks import process_in_chunks
from phasen_sb.inference.device_model import DeviceModel
from phasen_sb.inference.model_rate import run_at_model_rate
from phasen_sb.inference.recording_statistics import (
    RecordingStatistics,
    measure_recording,
)
from phasen_sb.optimized import is_optimizable, optimize

#: Most chunks that a CPU enhances at a time, which take memory each.
MOST_CHUNKS = 2
#: Chunks that wait for each device, of all recordings together, where there are
#: batches, and the audio (s) of a batch at most.
CHUNKS_OF_DEVICE = 16
BATCH_SECONDS = 240


class RecordingEnhancer:
    """Runs a model over recordings, a chunk at a time.

    The model is on the first of the ``devices``, has the sample rate
    ``sample_rate`` (Hz) and maps waveforms ``[B, samples]`` to a tuple that
    begins with the enhanced ones. The precision is ``fp32`` or ``bf16``.
    """

    def __init__(
        self,
        model: nn.Module,
        sample_rate: int,
        devices: Sequence[str],
        precision: str,
    ):
        self.sample_rate = sample_rate
        self.devices = tuple(devices)
        #: Whether chunks are enhanced in batches.
        self.has_batches = self.devices != ("cpu",)
        self._active = 0  # recordings
        self._lock = threading.Lock()
        # The threads of an optimized model share a chunk.
        self._divides_time = not self.has_batches and is_optimizable(model)
        if self._divides_time:
            model = optimize(model, precision)
        self._normalize = getattr(model, "normalize", False) is True
        if self._normalize:
            # The level is that of the whole recording, not of a chunk.
            model = copy(model)
            model.normalize = False
        # Without centering no frame contains the end.
        stft = getattr(model, "stft", None)
        self._padding = 0
        if stft is not None and not stft.center:
            self._padding = stft.win_length
        self._model = self._place(model, precision)

    def _place(self, model, precision) -> DeviceModel | BatchedModel:
        if not self.has_batches:
            return DeviceModel(model, "cpu", precision, copies=False)
        return BatchedModel(
            [DeviceModel(model, name, precision) for name in self.devices],
            BATCH_SECONDS * self.sample_rate,
        )

    def survey(self, file: AudioFile) -> tuple[RecordingStatistics, int]:
        """Reads a whole file; returns its statistics and number of samples."""
        statistics = measure_recording(
            read_blocks(file), file.channels, file.samplerate, self.sample_rate
        )
        check_whole(file, statistics.samples)
        return statistics, statistics.samples

    def enhance(
        self,
        read: Callable[[int], np.ndarray],
        rate: int,
        strength: float,
        plan: ChunkPlan,
        statistics: RecordingStatistics,
    ) -> Iterator[np.ndarray]:
        """Enhances a recording that is read from front to back.

        ``read(n)`` returns the next ``[n, channels]``; ``rate`` is in Hz; a
        ``strength`` of 0 returns the input, 1 the enhanced signal. The plan's
        chunks become shorter where a second has very many samples. Yields
        consecutive parts ``[n, channels]`` of the result.
        """
        channels = len(statistics.levels.overall)
        plan = plan.limit(rate, channels)
        may_repeat = _may_repeat(statistics)
        moments = [{} for _ in range(channels)]
        whole = len(list(plan.ranges(statistics.samples, rate))) == 1
        if self._model.has_global_norms and not whole and strength != 0:
            moments = self._measure_norms(statistics, plan)

        def process(chunk, start):
            if strength == 0:
                return chunk
            result = np.empty_like(chunk)
            start = start * self.sample_rate // rate  # whole seconds
            for i in range(channels):
                channel = np.ascontiguousarray(chunk[:, i])
                if may_repeat[i] and np.array_equal(channel, chunk[:, i - 1]):
                    result[:, i] = result[:, i - 1]
                    continue
                change = run_at_model_rate(
                    lambda low, i=i: self._compute_change(
                        low, statistics.levels, i, start, moments[i]
                    ),
                    channel,
                    rate,
                    self.sample_rate,
                )
                result[:, i] = channel + strength * change
            return result

        with self._count_active() as active:
            yield from process_in_chunks(
                read,
                statistics.samples,
                rate,
                process,
                plan,
                self._choose_at_a_time(active),
                divides_threads=not self.has_batches,
            )

    @contextmanager
    def _count_active(self):
        """Counts the recordings that are enhanced at this moment."""
        with self._lock:
            self._active += 1
        try:
            yield self._active
        finally:
            with self._lock:
                self._active -= 1

    def _choose_at_a_time(self, active):
        if self.has_batches:
            return max(1, CHUNKS_OF_DEVICE * len(self.devices) // active)
        if self._divides_time:
            return 1
        return min(torch.get_num_threads(), MOST_CHUNKS)

    def _measure_norms(self, statistics, plan):
        """Measures the moments of the norms' inputs, for each channel."""
        count, length, channels = statistics.excerpts.shape
        seconds = plan.step + 2 * plan.context
        groups = -(-count * length // (seconds * self.sample_rate))
        moments = [{} for _ in range(channels)]
        for i in range(channels):
            parts = [
                self._condition(
                    excerpt,
                    statistics.levels,
                    i,
                    number * statistics.excerpt_spacing,
                )
                for number, excerpt in enumerate(statistics.excerpts[..., i])
            ]
            for group in range(groups):
                # Each group has excerpts from all over the recording.
                wave = np.concatenate(parts[group::groups])
                if wave.any():
                    self._model.measure_norms(self._load(wave), moments[i])
        return moments

    def _condition(self, wave, levels, channel, start):
        """What the model gets of ``[samples]``, of which sample ``start`` is
        the first, at the model's rate."""
        if not self._normalize:
            return wave
        wave, _ = levels.split_audible(wave, channel)
        return wave / levels.curve(channel, start, len(wave))

    def _compute_change(self, wave, levels, channel, start, moments):
        """What enhancement adds to ``[samples]`` at the model's rate."""
        if not self._normalize:
            return self._run(wave, moments)
        wave, infrasound = levels.split_audible(wave, channel)
        scale = levels.curve(channel, start, len(wave))
        change = self._run(wave / scale, moments) * scale
        offsets = levels.reject_noise(channel, start, wave, wave + change)
        if offsets is not None:
            scale = levels.curve(channel, start, len(wave), offsets)
            change = self._run(wave / scale, moments) * scale
        return change - infrasound

    def _run(self, wave, moments):
        """What the model adds to ``[samples]``."""
        if not wave.any():
            return np.zeros_like(wave)
        change = self._model.enhance(self._load(wave), moments)
        return change[: len(wave)].double().numpy()

    def _load(self, wave):
        x = torch.from_numpy(wave.astype(np.float32))
        return torch.nn.functional.pad(x, (0, self._padding))


def _may_repeat(statistics):
    """Whether each channel may share chunks' results with the one before.

    Dual mono, as interviews often are, is enhanced once. Besides the chunk, its
    result depends on levels and excerpts alone.
    """
    levels, excerpts = statistics.levels, statistics.excerpts
    return [
        i > 0
        and all(
            np.array_equal(values[..., i], values[..., i - 1])
            for values in (
                levels.mean,
                levels.overall,
                levels.infrasound,
                levels.offsets,
                excerpts,
            )
        )
        for i in range(len(levels.overall))
    ]
