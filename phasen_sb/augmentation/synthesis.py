"""Parts of which noises are made: curves, rhythms, tones and impacts.

All draw with a generator and return tensors ``[count, samples]`` on its device;
no shape depends on what is drawn.
"""

import math

import torch
from torchaudio.functional import fftconvolve

from phasen_sb.augmentation.drawing import draw_normal, draw_uniform


def draw_log_uniform(
    limits: tuple[float, float], generator: torch.Generator, *shape: int
) -> torch.Tensor:
    """Draws numbers whose logarithms are distributed evenly.

    Example
    -------
    >>> generator = torch.Generator().manual_seed(0)
    >>> draw_log_uniform((1, 100), generator, 1000).median().round()
    tensor(10.)
    """
    low, high = (math.log(limit) for limit in limits)
    return draw_uniform((low, high), generator, *shape).exp()


def draw_curve(
    limits: tuple[float, float],
    knots: int,
    count: int,
    samples: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """Draws curves that are straight between ``knots`` random values.

    Example
    -------
    >>> generator = torch.Generator().manual_seed(0)
    >>> curve = draw_curve((2, 3), 4, 1, 16000, generator)
    >>> curve.shape, bool(curve.diff().abs().max() < 1 / 5000)
    (torch.Size([1, 16000]), True)
    """
    values = draw_uniform(limits, generator, count, 1, knots)
    return torch.nn.functional.interpolate(
        values, samples, mode="linear", align_corners=True
    )[:, 0]


def run_phase(
    frequency: torch.Tensor, sample_rate: int, start: torch.Tensor
) -> torch.Tensor:
    """Adds up a frequency (Hz) to a phase, in turns.

    Arguments
    ---------
    frequency : torch.Tensor
        ``[count, samples]``
    sample_rate : int
        In Hz.
    start : torch.Tensor
        The phase before the first sample, ``[count, 1]``.

    Returns
    -------
    torch.Tensor
        ``[count, samples]``, in double precision: of thousands of turns the
        fraction is what is heard.

    Example
    -------
    >>> phase = run_phase(torch.full((1, 16000), 5.0), 16000, torch.zeros(1, 1))
    >>> phase[0, -1].round(decimals=3)
    tensor(5., dtype=torch.float64)
    """
    return (frequency.double() / sample_rate).cumsum(1) + start


def find_fraction(phase: torch.Tensor) -> torch.Tensor:
    """Returns what exceeds whole turns, in single precision.

    Example
    -------
    >>> find_fraction(torch.tensor([2.25], dtype=torch.float64))
    tensor([0.2500])
    """
    return phase.remainder(1).float()


def strike(phase: torch.Tensor) -> torch.Tensor:
    """Is 1 where a phase (in turns) passes a whole number, else 0.

    Example
    -------
    >>> strike(torch.tensor([[0.8, 0.9, 1.0, 1.1, 2.0]]))
    tensor([[0., 0., 1., 0., 1.]])
    """
    beat = phase.floor()
    return torch.diff(beat, prepend=beat[:, :1]).clamp(0, 1).float()


def ring(
    struck: torch.Tensor,
    pitch: torch.Tensor,
    decay: torch.Tensor,
    sample_rate: int,
    generator: torch.Generator,
    modes: int = 12,
    seconds: float = 0.5,
) -> torch.Tensor:
    """Lets a body ring wherever it is struck: modal synthesis.

    Each mode is a decaying sine wave.

    Arguments
    ---------
    struck : torch.Tensor
        How hard it is struck at each moment, ``[count, samples]``.
    pitch : torch.Tensor
        Lowest frequency of a mode (Hz), ``[count, 1]``; the highest is some 20
        times as high.
    decay : torch.Tensor
        Time in which the lowest mode falls by 60 dB (s), ``[count, 1]``.
    sample_rate : int
        In Hz.
    generator : torch.Generator
        Of frequencies, levels and phases.
    modes : int
        How many.
    seconds : float
        Length after which the sound is cut.

    Returns
    -------
    torch.Tensor
        ``[count, samples]``

    Example
    -------
    >>> struck = torch.zeros(1, 8000)
    >>> struck[0, 100] = 1
    >>> low, short = torch.tensor([[300.0]]), torch.tensor([[0.1]])
    >>> heard = ring(struck, low, short, 16000, torch.Generator())
    >>> loud = heard[0].abs() > 0.001
    >>> bool(loud[:100].any()), bool(loud[100:110].any())
    (False, True)
    """
    count = len(struck)
    time = torch.arange(round(seconds * sample_rate), device=struck.device)
    time = time / sample_rate
    ratio = draw_log_uniform((1, 20), generator, count, modes, 1)
    ratio[:, :1] = 1
    frequency = pitch.unsqueeze(2) * ratio
    # High modes fade faster.
    fall = 6.9 / decay.unsqueeze(2) * ratio.sqrt()
    level = draw_normal(generator, count, modes, 1) / ratio.sqrt()
    level = level * (frequency < 0.45 * sample_rate)
    angle = 2 * math.pi * draw_uniform((0, 1), generator, count, modes, 1)
    angle = angle + 2 * math.pi * frequency * time
    response = (level * (-fall * time).exp() * angle.sin()).sum(1)
    return fftconvolve(struck, response)[:, : struck.shape[1]]


def sum_harmonics(
    phase: torch.Tensor,
    frequency: torch.Tensor,
    levels: torch.Tensor,
    sample_rate: int,
) -> torch.Tensor:
    """Adds up the harmonics of a tone, without those that would alias.

    Arguments
    ---------
    phase : torch.Tensor
        Of the first harmonic, in turns, ``[count, samples]``; see
        :func:`phasen_sb.augmentation.synthesis.run_phase`.
    frequency : torch.Tensor
        Of the first harmonic (Hz), ``[count, samples]`` or ``[count, 1]``.
    levels : torch.Tensor
        Amplitudes ``[count, harmonics]``.
    sample_rate : int
        In Hz.

    Returns
    -------
    torch.Tensor
        ``[count, samples]``

    Example
    -------
    >>> frequency = torch.full((1, 16000), 3000.0)
    >>> phase = run_phase(frequency, 16000, torch.zeros(1, 1))
    >>> wave = sum_harmonics(phase, frequency, torch.ones(1, 8), 16000)
    >>> spectrum = torch.fft.rfft(wave)[0].abs() / 8000
    >>> spectrum.topk(2).indices.sort().values, spectrum.round().sum()
    (tensor([3000, 6000]), tensor(2.))
    """
    angle = 2 * math.pi * find_fraction(phase)
    total = torch.zeros_like(angle)
    for index in range(levels.shape[1]):
        number = index + 1
        # Faded out below the highest frequency: glides do not click.
        room = (0.48 * sample_rate - number * frequency) / (0.03 * sample_rate)
        level = levels[:, index, None] * room.clamp(0, 1)
        total = total + level * (number * angle).sin()
    return total


def set_energy(noise: torch.Tensor) -> torch.Tensor:
    """Gives each noise a root mean square of 1; silence stays silence."""
    energy = noise.square().mean(1, keepdim=True)
    return noise * energy.clamp(min=1e-12).rsqrt()
