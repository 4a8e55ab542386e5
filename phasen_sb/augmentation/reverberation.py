"""Rooms."""

import torch
from scipy.fft import next_fast_len
from speechbrain.processing.signal_processing import dB_to_amplitude
from torchaudio.functional import fftconvolve

from phasen_sb.augmentation.drawing import draw_normal, draw_uniform
from phasen_sb.augmentation.effect import Effect


class Reverberation(Effect):
    """Adds the reverberation of synthetic rooms.

    A room's response is the direct sound and, a few milliseconds later,
    exponentially decaying noise that loses its high frequencies first. Source:
    Polack, "La transmission de l'energie sonore dans les salles", 1988.

    Arguments
    ---------
    probability : float
        Share of the signals.
    sample_rate : int
        Of the signals (Hz).
    decay_low, decay_high : float
        Range of the time in which sound decays by 60 dB (s).
    direct_low, direct_high : float
        Range of the ratio of direct to reverberant energy (dB).

    Example
    -------
    >>> click = torch.zeros(1, 16000)
    >>> click[0, 0] = 1
    >>> heard = Reverberation(1)(click, torch.Generator().manual_seed(0))
    >>> heard[0, 0].round(), heard[0, 1000:2000].any()
    (tensor(1.), tensor(True))
    """

    def __init__(
        self,
        probability: float,
        sample_rate: int = 16000,
        decay_low: float = 0.15,
        decay_high: float = 0.9,
        direct_low: float = -3.0,
        direct_high: float = 15.0,
    ):
        super().__init__(probability)
        self.sample_rate = sample_rate
        self.decay = (decay_low, decay_high)
        self.direct = (direct_low, direct_high)

    def draw(
        self, count: int, samples: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Draws each room's decay, level, first delay and two noises."""
        size = round(self.decay[1] * self.sample_rate)
        return (
            draw_uniform(self.decay, generator, count, 1),
            draw_uniform(self.direct, generator, count, 1),
            draw_uniform((0.001, 0.012), generator, count, 1),
            draw_normal(generator, count, size),
            draw_normal(generator, count, size),
        )

    def change(
        self, signals: torch.Tensor, *values: torch.Tensor
    ) -> torch.Tensor:
        """Convolves each signal with a room of its own."""
        rooms = self.make_rooms(*values).to(signals)
        samples = signals.shape[1]
        if signals.device.type != "cpu":
            # CUDA's FFT is fast at sizes with small factors only.
            size = samples + rooms.shape[1] - 1
            more = next_fast_len(size, real=True) - size
            signals = torch.nn.functional.pad(signals, (0, more))
        return fftconvolve(signals, rooms)[:, :samples]

    def make_rooms(
        self,
        decay: torch.Tensor,
        direct: torch.Tensor,
        gap: torch.Tensor,
        low: torch.Tensor,
        high: torch.Tensor,
    ) -> torch.Tensor:
        """Makes responses, ``[B, decay_high * sample_rate]``, of a draw."""
        time = torch.arange(low.shape[1], device=low.device) / self.sample_rate
        # The upper half of the spectrum decays twice as fast.
        low = low * 10 ** (-3 * time / decay)
        high = high * 10 ** (-3 * time / (0.5 * decay))
        low = torch.cat([low[:, :1], low[:, 1:] + low[:, :-1]], 1)
        high = torch.cat([high[:, :1], high[:, 1:] - high[:, :-1]], 1)
        tail = (low + high) * (time >= gap)
        tail[:, 0] = 0
        tail /= tail.square().sum(1, keepdim=True).sqrt().clamp(min=1e-9)
        tail /= dB_to_amplitude(direct)
        tail[:, 0] = 1
        return tail
