"""The way of live speech through a model, at any sample rate."""

import numpy as np

from phasen_sb.inference.streaming import StreamingEnhancer
from phasen_sb.inference.streaming_resampling import StreamingResampler


class LiveEnhancer:
    """Enhances one signal that comes in blocks of any length.

    What goes in is resampled to the model's rate, enhanced in the stream's
    blocks, mixed with the noisy signal and resampled again.

    Arguments
    ---------
    stream : StreamingEnhancer
        The model.
    input_rate : int
        Sample rate of what comes (Hz).
    output_rate : int
        Sample rate of the result (Hz).
    strength : float
        0 returns the input, 1 the enhanced signal, both equally late.

    Example
    -------
    >>> from phasen_sb import PHASEN, ConvISTFT, ConvSTFT, PhasenEnhancer
    >>> sizes = {"win_length": 32, "hop_length": 16}
    >>> network = PHASEN(recurrent_units=8, phase_norm="frame", causal=True)
    >>> model = PhasenEnhancer(
    ...     ConvSTFT(16000, **sizes), ConvISTFT(16000, **sizes), network, False
    ... )
    >>> live = LiveEnhancer(StreamingEnhancer(model, 256), 48000, 16000)
    >>> out = live.process(np.zeros(4800, "float32"))
    >>> len(out), len(live.flush()), live.latency
    (1536, 320, 33.5...)
    """

    def __init__(
        self,
        stream: StreamingEnhancer,
        input_rate: int,
        output_rate: int,
        strength: float = 1.0,
    ):
        self._stream = stream
        self._strength = strength
        rate = stream.sample_rate
        self._before = self._after = None
        if input_rate != rate:
            self._before = StreamingResampler(input_rate, rate)
        if output_rate != rate:
            self._after = StreamingResampler(rate, output_rate)
        self._waiting = np.zeros(0, "float32")  # for a whole block
        self._noisy = np.zeros(stream.delay, "float32")  # for its result

    @property
    def latency(self) -> float:
        """How long sound takes to come out, computing aside (ms)."""
        samples = self._stream.delay + self._stream.block_samples
        seconds = samples / self._stream.sample_rate
        for resampler in (self._before, self._after):
            seconds += resampler.latency if resampler else 0
        return 1000 * seconds

    def process(self, samples: np.ndarray) -> np.ndarray:
        """Takes the next ``[n]``, float32; returns what is ready of it.

        NaN and infinity count as zero.
        """
        samples = np.nan_to_num(samples, posinf=0.0, neginf=0.0)
        if self._before:
            samples = self._before.process(samples)
        mixed = self._enhance(samples)
        return self._after.process(mixed) if self._after else mixed

    def flush(self) -> np.ndarray:
        """Ends the signal and returns the rest.

        The result is as long as what came and the stream's delay.
        """
        rest = self._before.finish() if self._before else self._waiting[:0]
        count = len(self._waiting) + len(rest) + self._stream.delay
        padding = -(len(self._waiting) + len(rest)) % self._stream.block_samples
        mixed = self._enhance(np.pad(rest, (0, padding)))
        mixed = np.concatenate([mixed, self._mix(self._stream.flush())])[:count]
        if self._after:
            mixed = self._after.process(mixed)
            mixed = np.concatenate([mixed, self._after.finish()])
        return mixed

    def _enhance(self, samples):
        """Enhances the whole blocks, at the model's rate."""
        self._waiting = np.concatenate([self._waiting, samples])
        count = len(self._waiting)
        count -= count % self._stream.block_samples
        block, self._waiting = self._waiting[:count], self._waiting[count:]
        self._noisy = np.concatenate([self._noisy, block])
        return self._mix(self._stream.process(block))

    def _mix(self, enhanced):
        noisy = self._noisy[: len(enhanced)]
        self._noisy = self._noisy[len(enhanced) :]
        return self._strength * enhanced + (1 - self._strength) * noisy
