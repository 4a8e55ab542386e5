"""PESQ's model of hearing as a loss.

A model trained on it is metric-optimised: its PESQ says less about how it
sounds than the PESQ of other models.

Source: ITU-T P.862 and P.862.2 (wide band), the perceptual model without the
alignment in time.
"""

from functools import lru_cache

import torch
from speechbrain.nnet.losses import reduce_loss
from torch.nn.functional import pad

from phasen_sb.errors import choose
from phasen_sb.losses import pesq_tables as tables
from phasen_sb.losses.inputs import REDUCTIONS, align_waveforms
from phasen_sb.signals.padding import count_samples

SAMPLE_RATE = 16000
WINDOW = 512  # samples, 32 ms
HOP = 256
INTERVAL = 20  # frames; intervals overlap by half
SPEECH_BAND = slice(12, 105)  # bins from 375 to 3250 Hz, which set the level
SPEECH_POWER = 1e7  # the level that P.862 brings speech to
SILENCE = 1e-8  # power in that band below which a target is silent, -80 dB
LOWEST = 1e-14  # power below which a prediction is not amplified any more
#: Wide-band input filter: numerator and denominator, in powers of 1/z.
INPUT_FILTER = (2.740826, -5.4816519, 2.740826), (1.0, -1.9444777, 0.94597794)
#: Shares of a frame's own gain and of the smoothed gain of the frame before.
NEW, OLD = 0.8, 0.2
#: Frames that are smoothed over; earlier ones would weigh less than 1e-16.
MEMORY = 24
#: Greater disturbances of a frame count as this.
GREATEST_DISTURBANCE = 45.0
SYMMETRIC_WEIGHT, ASYMMETRIC_WEIGHT = 0.1, 0.0309
EPS = 1e-15


def pesq_loss(
    predictions: torch.Tensor,
    targets: torch.Tensor,
    length: torch.Tensor | None = None,
    allowed_len_diff: int = 3,
    reduction: str = "mean",
    sample_rate: int = SAMPLE_RATE,
) -> torch.Tensor:
    """Measures how far PESQ's score is from its maximum, 4.5 before mapping.

    Powers in Bark bands are converted to loudness. Differences beyond what
    masking hides are the disturbance; added sounds weigh more than missing
    ones.

    PESQ forgives other levels, fixed filters and quick changes of gain. A
    network that is trained on it alone, or mostly, learns to boost one band
    and to drop the others: in 800 steps SI-SDR fell from 12.7 to 2.2 dB while
    PESQ rose from 1.67 to 2.40. So combine it with losses that forgive none of
    these, as ``hparams/phasen_pesq.yaml`` does.

    Values are those of PESQ before its mapping, with these differences: there
    is no alignment in time, and the whole signal counts, with the same weight
    everywhere, instead of the part from its first to its last sound.

    Arguments
    ---------
    predictions : torch.Tensor
        Estimated waveforms ``[B, samples]``.
    targets : torch.Tensor
        Clean waveforms ``[B, samples]``. The loss of a silent one (80 dB
        below 1 in the band of speech) is 0.
    length : torch.Tensor, optional
        Relative lengths in samples, ``[B]``; padded samples do not count. The
        loss of what is shorter than a frame of 32 ms is 0.
    allowed_len_diff : int
        Difference in samples that is cut off instead of being an error.
    reduction : str
        ``mean``: scalar; ``batch``: one value for each utterance, ``[B]``.
    sample_rate : int
        Sample rate (Hz). PESQ's tables are for 16000 Hz alone.

    Returns
    -------
    torch.Tensor
        The loss, from 0.0004 (no difference) to about 6.

    Raises
    ------
    ValueError
        If the sample rate is not 16000, shapes are not ``[B, samples]`` or
        differ by more than ``allowed_len_diff``, or ``reduction`` is unknown.

    Example
    -------
    >>> clean = torch.randn(2, 16000)
    >>> pesq_loss(clean, clean) < 1e-3
    tensor(True)
    >>> noisy = clean + torch.randn(2, 16000)
    >>> pesq_loss(noisy, clean, reduction="batch").shape
    torch.Size([2])
    """
    choose("reduction", reduction, REDUCTIONS)
    if sample_rate != SAMPLE_RATE:
        raise ValueError(
            f"pesq_loss is for {SAMPLE_RATE} Hz and got {sample_rate} Hz; "
            "train at that rate, or without this loss."
        )
    predictions, targets = align_waveforms(
        "pesq_loss", predictions, targets, allowed_len_diff
    )
    if length is None:
        length = targets.new_ones(targets.shape[0])
    samples = count_samples(length.to(targets.device), targets.shape[1])
    # fp32 also under autocast: powers are beyond fp16, differences below bf16.
    with torch.autocast(targets.device.type, enabled=False):
        loss = _compare(predictions.float(), targets.float(), samples)
    return reduce_loss(loss, torch.ones_like(loss), reduction)


def _compare(predictions, targets, samples):
    """One value for each utterance, ``[B]``."""
    counts = (samples - WINDOW) // HOP + 1  # whole frames
    waves = torch.cat([predictions, targets])
    powers = _powers(pad(waves, (0, max(0, WINDOW - waves.shape[1]))))
    frames = torch.arange(powers.shape[1], device=powers.device)
    valid = (frames < counts.unsqueeze(1)).unsqueeze(2)  # [B, frames, 1]
    degraded, reference = (part * valid for part in powers.chunk(2))

    level = _level(reference, valid)
    # Levels do not disturb: both signals are brought to the same.
    gain = SPEECH_POWER / level.clamp(min=SILENCE)
    degraded_gain = SPEECH_POWER / _level(degraded, valid).clamp(min=LOWEST)
    reference = _bands(reference * gain)
    degraded = _bands(degraded * degraded_gain)
    degraded, reference = _compensate(degraded, reference, valid)
    symmetric, asymmetric = _disturbances(degraded, reference)
    loss = SYMMETRIC_WEIGHT * _pool(symmetric, valid)
    loss = loss + ASYMMETRIC_WEIGHT * _pool(asymmetric, valid)
    return torch.where(level.flatten() > SILENCE, loss, 0)


def _powers(signals):
    """Power spectra, ``[B, samples]`` to ``[B, frames, bins]``."""
    window = torch.hann_window(WINDOW, device=signals.device)
    spectra = torch.stft(
        signals, WINDOW, HOP, window=window, center=False, return_complex=True
    )
    return torch.view_as_real(spectra).square().sum(-1).transpose(1, 2)


def _level(powers, valid):
    """Mean square of the signals in the band of speech, ``[B, 1, 1]``."""
    total = 2 * powers[..., SPEECH_BAND].sum((1, 2), keepdim=True) / WINDOW
    window_energy = 3 / 8 * WINDOW
    return total / window_energy / valid.sum((1, 2), keepdim=True).clamp(min=1)


def _table(name, like):
    return _constants(like.dtype, like.device)[name]


# What it returns is a constant of the graph that torch.compile captures.
@torch.compiler.assume_constant_result
def _constants(dtype, device):
    return _copy_constants(dtype, device)


# Copied to a GPU once: each copy synchronises with it.
@lru_cache
@torch.inference_mode(False)
def _copy_constants(dtype, device):
    values = {
        "bands": _band_matrix(),
        "thresholds": tables.THRESHOLDS,
        "centres": tables.CENTRES,
        "widths": tables.WIDTHS,
        "memory": [NEW * OLD**age for age in reversed(range(MEMORY))],
    }
    return {
        name: torch.as_tensor(value, dtype=dtype).to(device)
        for name, value in values.items()
    }


def _bands(powers):
    """Power in Bark bands after the input filter, ``[B, frames, bands]``."""
    return powers @ _table("bands", powers)


def _band_matrix():
    """``[bins, bands]``, input filter and corrections included."""
    above, below = (
        torch.fft.rfft(torch.tensor(taps), WINDOW).abs().square()
        for taps in INPUT_FILTER
    )
    factors = torch.tensor(tables.CORRECTIONS) * tables.POWER_SCALE
    return (above / below).unsqueeze(1) * tables.band_matrix() * factors


def _audible(bands, factor):
    """Power in the bands above the threshold, ``[B, frames, bands]``."""
    return bands * (bands > factor * _table("thresholds", bands))


def _total(bands):
    return _audible(bands, 1)[..., 1:].sum(2, keepdim=True)


def _compensate(degraded, reference, valid):
    # A fixed filter does not disturb: the reference gets it, too.
    speech = _audible(reference, 1e2)[..., 1:].sum(2, keepdim=True) >= 1e7
    means = [
        (_audible(bands, 1e2) * speech).sum(1, keepdim=True)
        / valid.sum(1, keepdim=True).clamp(min=1)
        for bands in (degraded, reference)
    ]
    response = (means[0] + 1e3) / (means[1] + 1e3)
    reference = reference * response.clamp(0.01, 100)
    # Nor do slow changes of gain: they are undone in the degraded signal.
    now = (_total(reference) + 5e3) / (_total(degraded) + 5e3)
    return degraded * _smooth(now).clamp(3e-4, 5), reference


def _smooth(gains):
    """P.862's recursive filter over frames, ``[B, frames, 1]``.

    As a convolution: a recursion would be a thousand small steps on a GPU.
    """
    # Before the first frame its gain is repeated.
    past = gains[:, :1].expand(-1, MEMORY - 1, -1)
    views = torch.cat([past, gains], 1).unfold(1, MEMORY, 1)
    return views @ _table("memory", gains)


def _loudness(bands):
    thresholds = _table("thresholds", bands)
    exponents = (6 / (_table("centres", bands) + 2)).clamp(1, 2) ** 0.15
    exponents = exponents * tables.ZWICKER_EXPONENT
    above = (0.5 + 0.5 * bands / thresholds).clamp(min=1) ** exponents - 1
    return tables.LOUDNESS_SCALE * (2 * thresholds) ** exponents * above


def _disturbances(degraded, reference):
    """Symmetric and asymmetric disturbance of each frame, ``[B, frames]``."""
    loud, target = _loudness(degraded), _loudness(reference)
    difference = loud - target
    hidden = 0.25 * torch.minimum(loud, target)
    disturbance = (difference.abs() - hidden).clamp(min=0)
    added = ((degraded + 50) / (reference + 50)) ** 1.2
    added = torch.where(added < 3, 0, added.clamp(max=12))

    widths = _table("widths", degraded)[1:]
    disturbance, added = disturbance[..., 1:] * widths, added[..., 1:]
    symmetric = (disturbance.square().sum(2) * widths.sum() + EPS).sqrt()
    asymmetric = (disturbance * added).sum(2)
    quiet = ((_total(reference).squeeze(2) + 1e5) / 1e7) ** 0.04
    return tuple(
        (each / quiet).clamp(max=GREATEST_DISTURBANCE)
        for each in (symmetric, asymmetric)
    )


def _pool(disturbance, valid):
    """Over time, ``[B, frames]`` to ``[B]``: bad moments weigh most."""
    inside = valid.squeeze(2).to(disturbance.dtype)
    step = INTERVAL // 2
    missing = -inside.shape[1] % step + step
    views = pad(disturbance * inside, (0, missing)).unfold(1, INTERVAL, step)
    counts = pad(inside, (0, missing)).unfold(1, INTERVAL, step).sum(2)
    mean = views.pow(6).sum(2) / counts.clamp(min=1)
    worst = (mean + EPS).pow(1 / 3)  # squares of 6-norms
    total = (worst * counts).sum(1) / counts.sum(1).clamp(min=1)
    return (total + EPS).sqrt()
