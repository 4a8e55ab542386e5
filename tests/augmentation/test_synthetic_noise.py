"""Computed noises have the spectra, lines and decays that they are made of."""

import math

import pytest
import soundfile as sf
import torch

from phasen_sb import SyntheticNoise
from phasen_sb.augmentation import effect, synthetic_noise
from phasen_sb.augmentation.noise_families import FAMILIES, make_fan
from phasen_sb.augmentation.synthesis import (
    draw_curve,
    ring,
    run_phase,
    set_energy,
    strike,
    sum_harmonics,
)
from phasen_sb.cli import main
from phasen_sb.data.computed_noise import write_noise

RATE = 16000


def seeded(number=0):
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_heard_seeded_and_varied(name):
    family = FAMILIES[name]
    noise = family(5, RATE, RATE, seeded(1))
    assert noise.shape == (5, RATE) and noise.dtype == torch.float32
    assert noise.isfinite().all()
    assert torch.equal(noise, family(5, RATE, RATE, seeded(1)))
    # No two of a batch are alike, whatever their level.
    likeness = set_energy(noise) @ set_energy(noise).T / RATE
    assert likeness.fill_diagonal_(0).abs().max() < 0.9
    assert (noise.square().mean(1) > 1e-7).all()  # a pause between chirps
    assert family(1, 400, RATE, seeded(2)).shape == (1, 400)
    assert family(2, 8000, 8000, seeded(3)).isfinite().all()


def test_levels_are_those_of_what_is_replaced():
    signals = torch.tensor([[0.1], [0.0], [2.0]]).expand(3, RATE)
    noise = SyntheticNoise(1)(signals, seeded())
    level = noise.square().mean(1).sqrt()
    wanted = torch.tensor([0.1, synthetic_noise.USUAL_LEVEL, 2.0])
    assert torch.allclose(level, wanted, rtol=1e-4)
    assert SyntheticNoise(0)(signals, seeded()) is signals
    with pytest.raises(ValueError, match="no family of noises 'rian'"):
        SyntheticNoise(1, families=["rian"])


def test_families_take_turns(monkeypatch):
    marks = {
        str(mark): lambda count, samples, rate, generator, mark=mark: (
            torch.full((count, samples), float(mark))
        )
        for mark in (1, 2, 3)
    }
    monkeypatch.setattr(synthetic_noise, "FAMILIES", marks)
    noise = SyntheticNoise(1)
    for on_host in (True, False):
        for module in (effect, synthetic_noise):
            monkeypatch.setattr(module, "is_on_host", lambda _, h=on_host: h)
        orders = set()
        for seed in range(20):
            made = noise._draw_families(7, 4, seeded(seed))[:, 0].tolist()
            assert made[:3] == made[3:6] and sorted(made[:3]) == [1, 2, 3]
            orders.add(tuple(made[:3]))
        assert len(orders) == 6


def test_fans_have_lines_at_multiples_of_their_frequency(monkeypatch):
    monkeypatch.setattr(
        "phasen_sb.augmentation.noise_families.draw_log_uniform",
        lambda limits, generator, *shape: torch.full(shape, 100.0),
    )
    power = torch.fft.rfft(make_fan(40, RATE, RATE, seeded())).abs().square()
    power = power.mean(0)
    for harmonic in (1, 2, 3):
        line = power[100 * harmonic]
        beside = power[100 * harmonic + 20 : 100 * harmonic + 35].mean()
        assert line > 10 * beside


def test_noise_falls_by_what_is_drawn_per_octave():
    from phasen_sb.augmentation.noise_families import _draw_colored

    for slope in (-9, 0):
        noise = _draw_colored((slope, slope), 60, RATE, RATE, seeded())
        power = torch.fft.rfft(noise).abs().square()
        level = 10 * power.log10().mean(0)
        low, high = level[500:700].mean(), level[2000:2800].mean()
        assert abs(high - low - 2 * slope) < 2


def test_coloured_noise_swells_and_fades():
    noise = FAMILIES["colored"](40, 4 * RATE, RATE, seeded())
    level = 10 * noise.unfold(1, 1600, 1600).square().mean(2).log10()
    assert (level.std(1) > 0.7).float().mean() > 0.9
    # Mostly louder at low frequencies, by amounts of their own.
    power = torch.fft.rfft(noise).abs().square()
    low, high = power[:, 2000:2400].sum(1), power[:, 16000:19200].sum(1)
    slope = 10 * (low * 8 / high).log10()
    assert slope.median() > 5 and slope.std() > 5


def test_struck_bodies_ring_and_fall_by_60_db():
    struck = torch.zeros(30, RATE)
    struck[:, 1000] = 1
    pitch, decay = torch.full((30, 1), 400.0), torch.full((30, 1), 0.2)
    sound = ring(struck, pitch, decay, RATE, seeded(), modes=1)
    assert sound[:, :999].abs().max() < 1e-5
    early, late = (
        sound[:, start : start + 400].square().mean(1)
        for start in (1000, 1000 + RATE // 10)  # half of 0.2 s
    )
    assert torch.allclose(
        10 * (early / late).log10(), torch.tensor(30.0), atol=1
    )
    spectrum = torch.fft.rfft(sound).abs()
    assert ((spectrum.argmax(1) - 400).abs() <= 2).all()
    # Higher modes are higher and fade sooner.
    rich = ring(struck, pitch, decay, RATE, seeded())
    later = torch.fft.rfft(rich[:, 1000 + RATE // 8 :]).abs().square()
    first = torch.fft.rfft(rich[:, 1000 : 1000 + RATE // 8]).abs().square()
    share = [
        (power[:, power.shape[1] // 8 :].sum() / power.sum()).item()
        for power in (first, later)
    ]
    assert share[1] < share[0] / 3


def test_phases_are_exact_after_thousands_of_turns():
    frequency = torch.full((1, 20 * RATE), 6001.0)
    phase = run_phase(frequency, RATE, torch.zeros(1, 1))
    tone = sum_harmonics(phase, frequency, torch.ones(1, 1), RATE)[0]
    time = torch.arange(1, 20 * RATE + 1, dtype=torch.float64) / RATE
    wanted = (2 * math.pi * 6001 * time).sin()
    assert (tone - wanted).abs().max() < 1e-5
    assert strike(phase / 600).sum() == 200
    # What would alias is left out.
    high = sum_harmonics(phase, frequency, torch.tensor([[0.0, 1.0]]), RATE)
    assert not high.any()


def test_curves_stay_within_limits_and_end_where_they_are_drawn():
    curve = draw_curve((-20, 0), 5, 3, 8001, seeded())
    assert curve.min() >= -20 and curve.max() <= 0
    bends = curve.diff(n=2).abs() > 1e-3
    assert set(bends.nonzero()[:, 1].tolist()) <= {
        k + d for k in (1999, 3999, 5999) for d in (-1, 0, 1)
    }


def test_noise_can_be_listened_to(tmp_path, capsys):
    words = ["noise", str(tmp_path / "a"), "--families", "wind", "fan", "fan"]
    assert main([*words, "--seconds", "1"]) == 0
    assert "4 files of 1 s" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["fan_00.wav", "fan_01.wav", "wind_00.wav", "wind_01.wav"]
    samples, rate = sf.read(tmp_path / "a" / "wind_01.wav")
    assert len(samples) == rate == RATE
    assert abs(abs(samples).max() - 0.5) < 1e-3
    (again,) = write_noise(tmp_path / "b", ["wind"], 1, 1.0)
    first = (tmp_path / "a" / "wind_00.wav").read_bytes()
    assert again.read_bytes() == first
    for wrong, message in (
        (["--families", "winds"], "no family of noises 'winds'"),
        (["--seconds", "0"], "--seconds is 0"),
        (["--files", "0"], "--files is 0"),
    ):
        assert main(["noise", str(tmp_path / "c"), *wrong]) == 1
        assert message in capsys.readouterr().err
