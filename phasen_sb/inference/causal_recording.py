"""Enhances a recording with a causal model, as live speech would be.

The recording is read once, from front to back; the model's states are carried
over from chunk to chunk by :class:`phasen_sb.StreamingEnhancer`. Chunks overlap
for the sake of resampling alone: each sample goes through the model once.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from itertools import cycle

import numpy as np
import torch
from torch import nn

from phasen_sb.audio.reading import AudioFile, check_whole, estimate_samples
from phasen_sb.inference.chunk_plan import ChunkPlan
from phasen_sb.inference.model_rate import run_at_model_rate
from phasen_sb.inference.streaming import StreamingEnhancer
from phasen_sb.models.enhancer import PhasenEnhancer
from phasen_sb.network.phasen import PHASEN


def is_causal(model: nn.Module) -> bool:
    """Whether recordings are enhanced as live speech.

    Subclasses are not, since their streams may compute something else.

    Example
    -------
    >>> is_causal(nn.Identity())
    False
    """
    return (
        type(model) is PhasenEnhancer
        and type(model.network) is PHASEN
        and model.stft.center
        and model.latency_samples is not None
    )


class CausalRecordingEnhancer:
    """Runs a causal model over recordings, in one pass.

    The model has the sample rate ``sample_rate`` (Hz) and is on the first of
    the ``devices``; the others get copies, and recordings take turns. The
    precision is ``fp32`` or ``bf16``.
    """

    has_batches = False

    def __init__(
        self,
        model: PhasenEnhancer,
        sample_rate: int,
        devices: Sequence[str],
        precision: str,
    ):
        self.sample_rate = sample_rate
        self.devices = tuple(devices)
        copies = [deepcopy(model).to(device) for device in devices[1:]]
        self._models = cycle([model, *copies])
        self._device_type = torch.device(devices[0]).type
        self._precision = precision

    def survey(self, file: AudioFile) -> tuple[None, int]:
        """Reads nothing; returns the number of samples that a file should
        have, 0 if it is not known."""
        if samples := estimate_samples(file):
            check_whole(file, samples)
        return None, samples

    def enhance(
        self,
        read: Callable[[int], np.ndarray],
        rate: int,
        strength: float,
        plan: ChunkPlan,
        statistics: None = None,
    ) -> Iterator[np.ndarray]:
        """Enhances a recording that is read from front to back.

        ``read(n)`` returns the next ``[n, channels]``, fewer only at the end;
        ``rate`` is in Hz; a ``strength`` of 0 returns the input, 1 the enhanced
        signal. So many seconds are computed at a time as the plan has in a
        step, fewer where a second has very many samples. No statistics are
        needed. Yields consecutive parts ``[n, channels]`` of the result.
        """
        chunk = read(rate)
        channels = chunk.shape[1]
        plan = plan.limit(rate, channels)
        before = plan.context
        model = next(self._models)
        # What the model makes of a sample comes out later.
        ahead = before + math.ceil(model.latency / 1000)
        streams = [_ChangeStream(model)] * channels  # one while they are equal
        start = boundary = 0  # seconds
        is_last = False
        while not is_last:
            count = (boundary + plan.step + ahead - start) * rate - len(chunk)
            new = read(count)
            is_last = len(new) < count
            chunk = np.concatenate([chunk, new])
            begin = (boundary - start) * rate
            end = len(chunk) if is_last else begin + plan.step * rate
            if strength == 0:
                yield chunk[begin:end]
            else:
                change = self._compute_change(
                    streams, chunk, rate, start, is_last
                )
                yield (chunk + strength * change)[begin:end]
            boundary += plan.step
            first = max(start, boundary - before)
            chunk, start = chunk[(first - start) * rate :], first

    def _compute_change(self, streams, chunk, rate, start, is_last):
        """What enhancement adds to a chunk ``[n, channels]``."""
        _separate(streams, chunk)
        result = np.empty_like(chunk)
        start = start * self.sample_rate
        precision = torch.autocast(
            self._device_type,
            torch.bfloat16,
            enabled=self._precision == "bf16",
        )
        with precision:
            for i, stream in enumerate(streams):
                if i > 0 and stream is streams[i - 1]:
                    result[:, i] = result[:, i - 1]
                    continue
                result[:, i] = run_at_model_rate(
                    lambda low, stream=stream: stream.compute_change(
                        low, start, is_last
                    ),
                    np.ascontiguousarray(chunk[:, i]),
                    rate,
                    self.sample_rate,
                )
        return result


def _separate(streams, chunk):
    """Gives channels that are no longer those before them their own streams.

    Dual mono, as interviews often are, is enhanced once.
    """
    before = list(streams)
    for i in range(1, len(streams)):
        if before[i] is before[i - 1]:
            is_equal = np.array_equal(chunk[:, i], chunk[:, i - 1])
            streams[i] = streams[i - 1] if is_equal else before[i].copy()


class _ChangeStream:
    """What a causal model adds to a signal that comes in overlapping chunks."""

    def __init__(self, model):
        self._stream = StreamingEnhancer(model, engine="pytorch")
        self._early = self._stream.delay  # samples of before the beginning
        # Resampled, the end of a chunk is not yet that of the whole signal.
        self._margin = self._stream.sample_rate // 2
        self._given = 0
        self._waiting = np.zeros(0)  # for their enhanced samples
        self._start, self._changes = 0, np.zeros(0)

    def copy(self):
        """Copies the state, but not the model."""
        shared = {id(part): part for part in self._stream.model.modules()}
        return deepcopy(self, shared)

    def compute_change(self, chunk, start, is_last):
        """Takes ``[samples]``, of which sample ``start`` is the first.

        What is not known yet, at the end, is zero.
        """
        stop = start + len(chunk) - (0 if is_last else self._margin)
        new = chunk[self._given - start : stop - start]
        self._given += len(new)
        enhanced = self._stream.process(new)
        if is_last:
            enhanced = np.concatenate([enhanced, self._stream.flush()])
        early = min(self._early, len(enhanced))
        self._early -= early
        enhanced = enhanced[early:]
        waiting = np.concatenate([self._waiting, new])
        added = enhanced - waiting[: len(enhanced)]
        self._waiting = waiting[len(enhanced) :]
        known = self._changes[start - self._start :]
        self._start, self._changes = start, np.concatenate([known, added])
        return np.pad(self._changes, (0, len(chunk) - len(self._changes)))
