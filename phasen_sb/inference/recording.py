"""Enhances a recording of any rate, channel count and length.

What is done chunk by chunk here depends on the model in two ways only: it
maps ``[1, samples]`` at its own rate, and its global layer norms, if it has
any, are given the recording's statistics (:class:`RecordingNorms`).
"""

from collections.abc import Callable, Iterator
from copy import copy

import numpy as np
import torch
from torch import nn

from phasen_sb.inference.chunks import ChunkPlan, process_in_chunks
from phasen_sb.inference.model_rate import change_at_rate
from phasen_sb.inference.recording_norms import RecordingNorms
from phasen_sb.inference.survey import Survey, replace_non_finite
from phasen_sb.models.enhancer import PhasenEnhancer
from phasen_sb.network.phasen import PHASEN
from phasen_sb.optimized import optimize

#: Samples (of all channels together) that a chunk may have: 64 channels at
#: 192 kHz get shorter chunks than speech does.
CHUNK_LIMIT = 2**25


class RecordingEnhancer:
    """Runs a model over recordings, a chunk at a time.

    Arguments
    ---------
    model : torch.nn.Module
        Maps waveforms ``[B, samples]`` to a tuple that begins with the
        enhanced ones.
    sample_rate : int
        The model's sample rate (Hz).
    device : str
        Where the model is.
    precision : str
        ``fp32`` or ``bf16``.

    Example
    -------
    >>> class Half(nn.Module):
    ...     def forward(self, wave):
    ...         return 0.5 * wave, None
    >>> half = RecordingEnhancer(Half(), 16000, "cpu", "fp32")
    >>> facts = Survey(2, np.ones(1), 0, np.zeros((0, 1, 1)))
    >>> noisy = np.ones((2, 1))
    >>> list(half.enhance(lambda n: noisy[:n], facts, 16000, 1, ChunkPlan()))
    [array([[0.5],
           [0.5]])]
    """

    def __init__(
        self, model: nn.Module, sample_rate: int, device: str, precision: str
    ):
        self.sample_rate = sample_rate
        self.device = device
        self.precision = precision
        if _is_optimizable(model, device):
            model = optimize(model, precision)
        self._normalize = getattr(model, "normalize", False)
        if self._normalize:
            # The level is that of the whole recording, not of a chunk.
            model = copy(model)
            model.normalize = False
        self._model = model
        self._norms = RecordingNorms(model)

    def enhance(
        self,
        read: Callable[[int], np.ndarray],
        facts: Survey,
        rate: int,
        strength: float,
        plan: ChunkPlan,
    ) -> Iterator[np.ndarray]:
        """Enhances a recording that is read from front to back.

        Arguments
        ---------
        read : callable
            ``read(n)`` returns the next n samples, ``[n, channels]``.
        facts : Survey
            Of the recording.
        rate : int
            Its sample rate (Hz).
        strength : float
            0 returns the input, 1 the enhanced signal.
        plan : ChunkPlan
            The chunks, made shorter where there are very many samples in a
            second.

        Returns
        -------
        iterator of np.ndarray
            Consecutive parts ``[n, channels]`` of the result.
        """
        channels = len(facts.levels)
        seconds = CHUNK_LIMIT // (rate * channels) - 2 * plan.context
        plan = ChunkPlan(max(1, min(plan.step, seconds)), plan.context)
        moments = None
        twins = _twins(facts)

        def read_finite(count):
            return replace_non_finite(read(count))[0]

        def process(chunk):
            nonlocal moments
            if strength == 0:
                return chunk
            if moments is None:
                whole = len(chunk) == facts.samples
                moments = [{} for _ in facts.levels]
                if self._norms and not whole:
                    moments = self._measure(facts, plan)
            result = np.empty_like(chunk)
            for i, rms in enumerate(facts.levels):
                channel = np.ascontiguousarray(chunk[:, i])
                if twins[i] and np.array_equal(channel, chunk[:, i - 1]):
                    result[:, i] = result[:, i - 1]
                    continue
                with self._norms.use(moments[i]):
                    change = change_at_rate(
                        channel,
                        rate,
                        self.sample_rate,
                        lambda low, rms=rms: self._change(low, rms),
                    )
                result[:, i] = channel + strength * change
            return result

        return process_in_chunks(
            read_finite, facts.samples, rate, process, plan
        )

    def _measure(self, facts, plan):
        """Statistics of the norms, for each channel."""
        pieces, length, _ = facts.excerpts.shape
        seconds = plan.step + 2 * plan.context
        groups = -(-pieces * length // (seconds * self.sample_rate))
        moments = [{} for _ in facts.levels]
        for i, rms in enumerate(facts.levels):
            with self._norms.measure(moments[i]):
                for group in range(groups):
                    # Each group has pieces from all over the recording.
                    excerpts = facts.excerpts[group::groups, :, i]
                    self._change(excerpts.ravel(), rms)
        return moments

    def _change(self, wave, rms):
        """What enhancing adds to ``[samples]`` at the model's rate."""
        if not wave.any():
            return np.zeros_like(wave)
        scale = rms if self._normalize else 1.0
        x = torch.from_numpy((wave / scale).astype(np.float32))[None]
        stft = getattr(self._model, "stft", None)
        if stft is not None and not stft.center:
            # Without centering the end is in no frame.
            x = torch.nn.functional.pad(x, (0, stft.win_length))
        precision = torch.autocast(
            torch.device(self.device).type,
            torch.bfloat16,
            enabled=self.precision == "bf16",
        )
        with torch.inference_mode(), precision:
            x = x.to(self.device)
            # The difference of what the model saw: exactly zero where it
            # changes nothing.
            change = (self._model(x)[0] - x)[0, : len(wave)]
        return change.double().cpu().numpy() * scale


def _twins(facts):
    """Which channels may share a chunk's result with the one before.

    Mono in two channels, as interviews often are, is enhanced once. Level and
    excerpts are all that a chunk's result depends on besides the chunk.
    """
    return [
        i > 0
        and facts.levels[i] == facts.levels[i - 1]
        and np.array_equal(facts.excerpts[..., i], facts.excerpts[..., i - 1])
        for i in range(len(facts.levels))
    ]


def _is_optimizable(model, device):
    # Subclasses may compute something else.
    return (
        torch.device(device).type == "cpu"
        and type(model) is PhasenEnhancer
        and type(model.network) is PHASEN
    )
