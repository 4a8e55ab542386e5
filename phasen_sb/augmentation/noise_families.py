"""Families of noises: random, but after how the sounds come about.

Each is a function of a number of noises, their length in samples, their rate
(Hz) and a generator, and returns ``[count, samples]`` on its device.
"""

import math
from collections.abc import Callable

import torch
from speechbrain.processing.signal_processing import dB_to_amplitude
from torchaudio.functional import fftconvolve

from phasen_sb.augmentation.coloration import Coloration
from phasen_sb.augmentation.drawing import (
    draw_index,
    draw_normal,
    draw_uniform,
)
from phasen_sb.augmentation.synthesis import (
    draw_curve,
    draw_log_uniform,
    find_fraction,
    ring,
    run_phase,
    set_energy,
    strike,
    sum_harmonics,
)

Family = Callable[[int, int, int, torch.Generator], torch.Tensor]


def make_colored(count, samples, rate, generator):
    """Two coloured noises that swell and fade: traffic, rooms, machines."""
    knots = _count_knots(samples, rate, 3.0)
    total = 0
    for _ in range(2):
        noise = _draw_colored((-12, 3), count, samples, rate, generator)
        level = draw_curve((-20, 0), knots, count, samples, generator)
        total = total + noise * dB_to_amplitude(level)
    return total


def make_wind(count, samples, rate, generator):
    """Low noise in gusts, and a whistle that rises with them."""
    knots = _count_knots(samples, rate, 2.0)
    gust = draw_curve((0, 1), knots, count, samples, generator)
    rumble = _draw_colored((-12, -6), count, samples, rate, generator)
    # A narrow band of noise: slow noise that turns with the whistle.
    pitch = draw_log_uniform((250, 900), generator, count, 1) * (1 + 0.6 * gust)
    phase = run_phase(pitch, rate, draw_uniform((0, 1), generator, count, 1))
    slow = _smooth(draw_normal(generator, count, samples), rate, 40.0)
    whistle = set_energy(slow) * (2 * math.pi * find_fraction(phase)).sin()
    level = draw_uniform((-40, -8), generator, count, 1)
    return (rumble + dB_to_amplitude(level) * gust * whistle) * gust.square()


def make_fan(count, samples, rate, generator):
    """Air and the blades that beat it: steady, with lines in the spectrum."""
    air = _draw_colored((-9, 0), count, samples, rate, generator)
    frequency = draw_log_uniform((25, 250), generator, count, 1)
    frequency = frequency.expand(count, samples)
    start = draw_uniform((0, 1), generator, count, 1)
    phase = run_phase(frequency, rate, start)
    blades = _draw_harmonics(phase, frequency, 12, rate, generator)
    level = draw_uniform((-25, 3), generator, count, 1)
    turn = (2 * math.pi * find_fraction(phase / 4)).sin()
    depth = draw_uniform((0, 0.4), generator, count, 1)
    return air * (1 + depth * turn) + dB_to_amplitude(level) * blades


def make_engine(count, samples, rate, generator):
    """Harmonics that glide: motors, hums, saws."""
    knots = _count_knots(samples, rate, 1.5)
    base = draw_log_uniform((30, 400), generator, count, 1)
    depth = draw_uniform((0, 0.5), generator, count, 1)
    glide = draw_curve((-1, 1), knots, count, samples, generator)
    frequency = base * (1 + depth * glide)
    # Each turn is a little longer or shorter than the last.
    rough = _smooth(draw_normal(generator, count, samples), rate, 30.0)
    frequency = frequency * (1 + 0.02 * set_energy(rough)).clamp(0.8, 1.2)
    start = draw_uniform((0, 1), generator, count, 1)
    phase = run_phase(frequency, rate, start)
    tone = _draw_harmonics(phase, frequency, 24, rate, generator)
    noise = _draw_colored((-9, 0), count, samples, rate, generator)
    puff = 1 + (2 * math.pi * find_fraction(phase)).cos()
    level = draw_uniform((-30, 0), generator, count, 1)
    load = draw_curve((-8, 0), knots, count, samples, generator)
    return (tone + dB_to_amplitude(level) * puff * noise) * dB_to_amplitude(
        load
    )


def make_impacts(count, samples, rate, generator):
    """Bodies that are struck at random times: dishes, tools, toys."""
    knots = _count_knots(samples, rate, 2.0)
    total = 0
    for _ in range(3):
        busy = draw_curve((0, 1), knots, count, samples, generator)
        often = draw_log_uniform((0.5, 12), generator, count, 1)
        struck = _draw_strokes(often * busy, rate, generator)
        pitch = draw_log_uniform((150, 3000), generator, count, 1)
        decay = draw_log_uniform((0.05, 0.9), generator, count, 1)
        total = total + set_energy(ring(struck, pitch, decay, rate, generator))
    return total + _draw_floor(count, samples, rate, generator)


def make_steps(count, samples, rate, generator):
    """Nearly regular short strokes: steps, keys, clocks, hammers."""
    often = draw_log_uniform((1, 11), generator, count, 1)
    knots = max(2, 6 * samples // rate)
    uneven = draw_curve((0.4, 1.6), knots, count, samples, generator)
    start = draw_uniform((0, 1), generator, count, 1)
    phase = run_phase(often * uneven, rate, start)
    struck = strike(phase) * draw_uniform((0.2, 1), generator, count, samples)
    pitch = draw_log_uniform((60, 2000), generator, count, 1)
    decay = draw_log_uniform((0.02, 0.15), generator, count, 1)
    body = ring(struck, pitch, decay, rate, generator, seconds=0.15)
    # The rustle of sole and key: noise for some hundredths of a second.
    time = torch.arange(round(0.1 * rate), device=body.device) / rate
    length = draw_log_uniform((0.003, 0.03), generator, count, 1)
    burst = (-time / length).exp() * draw_normal(generator, count, len(time))
    rustle = fftconvolve(struck, burst)[:, :samples]
    level = draw_uniform((-20, 6), generator, count, 1)
    total = set_energy(body) + dB_to_amplitude(level) * set_energy(rustle)
    return total + _draw_floor(count, samples, rate, generator)


def make_crackle(count, samples, rate, generator):
    """Clicks of all sizes: fire, rain, old records, paper."""
    often = draw_log_uniform((5, 3000), generator, count, 1)
    knots = _count_knots(samples, rate, 3.0)
    busy = draw_curve((0.1, 1), knots, count, samples, generator)
    clicks = _draw_strokes(often * busy, rate, generator)
    sign = draw_index(2, generator, count, samples) * 2 - 1
    # A few are much louder than most.
    clicks = sign * clicks.clamp(min=0) ** 3
    time = torch.arange(round(0.02 * rate), device=clicks.device) / rate
    length = draw_log_uniform((0.0001, 0.004), generator, count, 1)
    shape = (-time / length).exp() * draw_normal(generator, count, len(time))
    heard = fftconvolve(clicks, shape)[:, :samples]
    return set_energy(heard) + _draw_floor(count, samples, rate, generator)


def make_chirps(count, samples, rate, generator):
    """Tones that sweep, one after the other: birds, insects, machines."""
    often = draw_log_uniform((1, 25), generator, count, 1)
    knots = max(2, 4 * samples // rate)
    uneven = draw_curve((0.7, 1.3), knots, count, samples, generator)
    start = draw_uniform((0, 1), generator, count, 1)
    beat = run_phase(often * uneven, rate, start)
    within = find_fraction(beat)
    base = draw_log_uniform((700, 5000), generator, count, 1)
    sweep = draw_uniform((-0.6, 0.6), generator, count, 1)
    trill = draw_uniform((0, 0.15), generator, count, 1)
    shake = draw_log_uniform((10, 60), generator, count, 1) / often
    shake = (2 * math.pi * shake * within).sin()
    frequency = base * (1 + sweep * (within - 0.5) + trill * shake)
    phase = run_phase(frequency, rate, start)
    tone = _draw_harmonics(phase, frequency, 3, rate, generator)
    length = draw_uniform((0.2, 1), generator, count, 1)
    open_ = (math.pi * (within / length).clamp(0, 1)).sin()
    # Some of the beats are silent: songs have pauses.
    sung = _of_beat(beat, (0, 1), generator) > 0.3
    return tone * open_ * sung + _draw_floor(count, samples, rate, generator)


def make_alarm(count, samples, rate, generator):
    """Beeps and sirens: two tones in turn, or one that is interrupted."""
    often = draw_log_uniform((0.5, 8), generator, count, 1)
    start = draw_uniform((0, 1), generator, count, 1)
    beat = run_phase(often.expand(count, samples), rate, start)
    within = find_fraction(beat)
    low = draw_log_uniform((350, 2800), generator, count, 1)
    high = low * draw_uniform((1, 1.6), generator, count, 1)
    # Square (two tones) or sine (siren), by how steep it is.
    steep = draw_log_uniform((1, 50), generator, count, 1)
    share = 0.5 + 0.5 * (steep * (2 * math.pi * within).sin()).tanh()
    frequency = low + (high - low) * share
    phase = run_phase(frequency, rate, start)
    tone = _draw_harmonics(phase, frequency, 10, rate, generator)
    on = draw_uniform((0.3, 1.5), generator, count, 1)  # over 1: no pause
    gate = ((on - within) * 100).clamp(0, 1) * (within * 100).clamp(0, 1)
    gate = torch.where(on > 1, 1.0, gate)
    return tone * gate + _draw_floor(count, samples, rate, generator)


def make_music(count, samples, rate, generator):
    """Three voices that play random notes of a scale, and a drum."""
    often = draw_log_uniform((1.5, 6), generator, count, 1)
    start = draw_uniform((0, 1), generator, count, 1)
    beat = run_phase(often.expand(count, samples), rate, start)
    root = draw_log_uniform((80, 250), generator, count, 1)
    total = 0
    for octave in (1, 2, 4):
        # Seven steps of a scale in twelve semitones.
        step = _of_beat(beat / octave, (0, 8), generator).floor()
        semitones = (12 * step / 7 + 0.5).floor()
        frequency = root * octave * 2 ** (semitones / 12)
        phase = run_phase(frequency, rate, start)
        tone = _draw_harmonics(phase, frequency, 8, rate, generator)
        within = find_fraction(beat / octave)
        fade = draw_log_uniform((0.15, 3), generator, count, 1)
        struck = (-within / fade).exp() * (within * 60).clamp(0, 1)
        level = draw_uniform((-12, 0), generator, count, 1)
        total = total + dB_to_amplitude(level) * set_energy(tone * struck)
    fade = draw_uniform((8, 30), generator, count, 1)
    hit = (-fade * find_fraction(beat)).exp()
    drum = hit * _draw_colored((-9, 3), count, samples, rate, generator)
    level = draw_uniform((-30, -3), generator, count, 1)
    return total + dB_to_amplitude(level) * drum


#: All families by name.
FAMILIES: dict[str, Family] = {
    "colored": make_colored,
    "wind": make_wind,
    "fan": make_fan,
    "engine": make_engine,
    "impacts": make_impacts,
    "steps": make_steps,
    "crackle": make_crackle,
    "chirps": make_chirps,
    "alarm": make_alarm,
    "music": make_music,
}


def _count_knots(samples, rate, per_second):
    return max(2, round(per_second * samples / rate))


def _draw_colored(tilt, count, samples, rate, generator):
    """Draws noise whose spectrum falls or rises by some dB per octave."""
    color = Coloration(
        1, rate, spread=3, limit_probability=0, tilt_low=tilt[0],
        tilt_high=tilt[1],
    )  # fmt: skip
    noise = draw_normal(generator, count, samples)
    return set_energy(
        color.change(noise, *color.draw(count, samples, generator))
    )


def _draw_floor(count, samples, rate, generator):
    """Draws what is heard between sounds: noise, 20 to 60 dB softer."""
    level = draw_uniform((-60, -20), generator, count, 1)
    noise = _draw_colored((-9, 0), count, samples, rate, generator)
    return dB_to_amplitude(level) * noise


def _draw_strokes(often, rate, generator):
    """Draws strokes of random force, ``often`` times a second on average."""
    count, samples = often.shape
    moment = draw_uniform((0, 1), generator, count, samples)
    force = draw_uniform((0.1, 1), generator, count, samples)
    return force * (moment < often / rate)


def _draw_harmonics(phase, frequency, harmonics, rate, generator):
    """Draws a tone, whose harmonics fall by 3 to 12 dB an octave."""
    count = len(phase)
    number = torch.arange(1, harmonics + 1, device=phase.device)
    fall = draw_uniform((3, 12), generator, count, 1)
    level = 3 * draw_normal(generator, count, harmonics)
    levels = dB_to_amplitude(level - fall * number.log2())
    return set_energy(sum_harmonics(phase, frequency, levels, rate))


def _of_beat(beat, limits, generator, beats=64):
    """Draws a number for each beat; after ``beats`` they begin again."""
    values = draw_uniform(limits, generator, len(beat), beats)
    return values.gather(1, beat.floor().long() % beats)


def _smooth(noise, rate, limit):
    """Removes what lies above ``limit`` Hz."""
    spectra = torch.fft.rfft(noise)
    frequency = torch.fft.rfftfreq(
        noise.shape[1], 1 / rate, device=noise.device
    )
    curve = (1 + (frequency / limit) ** 4).rsqrt()
    return torch.fft.irfft(spectra * curve, noise.shape[1])
