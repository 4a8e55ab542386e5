"""Enhances a recording of any rate, channel count and length.

All that is assumed of the model: it maps ``[1, samples]`` at its own rate.
Global layer norms, if it has any, are given the recording's statistics
(:class:`phasen_sb.inference.norm_statistics.NormStatistics`).
"""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from phasen_sb.inference.chunks import ChunkPlan, process_in_chunks
from phasen_sb.inference.model_rate import run_at_model_rate
from phasen_sb.inference.norm_statistics import NormStatistics
from phasen_sb.inference.recording_statistics import (
    RecordingStatistics,
    replace_non_finite,
)
from phasen_sb.optimized import is_optimizable, optimize

#: Most samples of a chunk, all channels together: 64 channels at 192 kHz get
#: shorter chunks than mono speech.
CHUNK_LIMIT = 2**25
#: Most chunks that are enhanced at a time, which take memory each.
MOST_CHUNKS = 2


class RecordingEnhancer:
    """Runs a model over recordings, a chunk at a time.

    The model is on ``device``, has the sample rate ``sample_rate`` (Hz) and
    maps waveforms ``[B, samples]`` to a tuple that begins with the enhanced
    ones. The precision is ``fp32`` or ``bf16``.
    """

    def __init__(
        self, model: nn.Module, sample_rate: int, device: str, precision: str
    ):
        self.sample_rate = sample_rate
        self.device = device
        self.precision = precision
        self._on_cpu = torch.device(device).type == "cpu"
        # The threads of an optimized model share a chunk.
        self._divides_time = self._on_cpu and is_optimizable(model)
        if self._divides_time:
            model = optimize(model, precision)
        self._normalize = getattr(model, "normalize", False) is True
        if self._normalize:
            # The level is that of the whole recording, not of a chunk.
            model = copy(model)
            model.normalize = False
        self._model = model
        self._norms = NormStatistics(model)

    def enhance(
        self,
        read: Callable[[int], np.ndarray],
        statistics: RecordingStatistics,
        rate: int,
        strength: float,
        plan: ChunkPlan,
    ) -> Iterator[np.ndarray]:
        """Enhances a recording that is read from front to back.

        ``read(n)`` returns the next ``[n, channels]``; ``rate`` is in Hz; a
        ``strength`` of 0 returns the input, 1 the enhanced signal. The plan's
        chunks become shorter where a second has very many samples. Yields
        consecutive parts ``[n, channels]`` of the result.
        """
        channels = len(statistics.levels.overall)
        seconds = CHUNK_LIMIT // (rate * channels) - 2 * plan.context
        plan = replace(plan, step=max(1, min(plan.step, seconds)))
        at_a_time = 1
        if self._on_cpu and not self._divides_time:
            at_a_time = min(torch.get_num_threads(), MOST_CHUNKS)
        may_repeat = _may_repeat(statistics)
        moments = [{} for _ in range(channels)]
        whole = len(list(plan.ranges(statistics.samples, rate))) == 1
        if self._norms and not whole and strength != 0:
            moments = self._measure_norms(statistics, plan)

        def read_finite(count):
            return replace_non_finite(read(count))[0]

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
                with self._norms.use(moments[i]):
                    change = run_at_model_rate(
                        lambda low, i=i: self._compute_change(
                            low, statistics.levels, i, start
                        ),
                        channel,
                        rate,
                        self.sample_rate,
                    )
                result[:, i] = channel + strength * change
            return result

        yield from process_in_chunks(
            read_finite, statistics.samples, rate, process, plan, at_a_time
        )

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
            with self._norms.measure(moments[i]):
                for group in range(groups):
                    # Each group has excerpts from all over the recording.
                    self._run(np.concatenate(parts[group::groups]))
        return moments

    def _condition(self, wave, levels, channel, start):
        """What the model gets of ``[samples]``, of which sample ``start`` is
        the first, at the model's rate."""
        if not self._normalize:
            return wave
        wave, _ = levels.split_audible(wave, channel)
        return wave / levels.curve(channel, start, len(wave))

    def _compute_change(self, wave, levels, channel, start):
        """What enhancement adds to ``[samples]`` at the model's rate."""
        if not self._normalize:
            return self._run(wave)
        wave, infrasound = levels.split_audible(wave, channel)
        scale = levels.curve(channel, start, len(wave))
        change = self._run(wave / scale) * scale
        offsets = levels.reject_noise(channel, start, wave, wave + change)
        if offsets is not None:
            scale = levels.curve(channel, start, len(wave), offsets)
            change = self._run(wave / scale) * scale
        return change - infrasound

    def _run(self, wave):
        """What the model adds to ``[samples]``."""
        if not wave.any():
            return np.zeros_like(wave)
        x = torch.from_numpy(wave.astype(np.float32))[None]
        stft = getattr(self._model, "stft", None)
        if stft is not None and not stft.center:
            # Without centering no frame contains the end.
            x = torch.nn.functional.pad(x, (0, stft.win_length))
        precision = torch.autocast(
            torch.device(self.device).type,
            torch.bfloat16,
            enabled=self.precision == "bf16",
        )
        with torch.inference_mode(), precision:
            x = x.to(self.device)
            # Relative to the model's own input, in its precision: exactly
            # zero where it changes nothing.
            change = (self._model(x)[0] - x)[0, : len(wave)]
        return change.double().cpu().numpy()


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
