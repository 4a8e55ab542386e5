"""Babble, clipping, codecs and vocal tracts do what they are named after."""

import math

import pytest
import torch

from phasen_sb import Babble, Clipping, Codec, Remix, VocalTract

RATE = 16000


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def test_babble_is_of_all_others_and_never_of_oneself():
    # Each utterance is a sine wave of its own frequency.
    time = torch.arange(RATE) / RATE
    pitch = 500 * torch.arange(1, 9)
    speech = (2 * math.pi * pitch[:, None] * time).sin()
    babble = Babble(1, voices_low=12, voices_high=12)
    heard = babble.replace(torch.zeros_like(speech), speech, seeded())
    assert torch.allclose(heard.square().mean(1), torch.ones(8), rtol=1e-3)
    level = torch.fft.rfft(heard).abs()[:, pitch] / RATE
    own = level.diagonal()
    others = level[~torch.eye(8, dtype=torch.bool)].reshape(8, 7)
    assert own.max() < 0.02 and ((others > 0.02).sum(1) >= 4).all()
    # Levels differ, as distances do, and other seeds give other voices.
    assert others.max() > 2 * others.median()
    again = babble.replace(torch.zeros_like(speech), speech, seeded(1))
    assert not torch.allclose(heard, again)


@pytest.mark.parametrize("voices", [1, 3])
def test_number_of_voices(voices):
    gains = Babble(1, RATE, voices, voices).draw(500, 400, seeded())[2]
    assert (gains > 0).sum(1).eq(voices).all()
    both = Babble(1, RATE, 2, 30).draw(5000, 400, seeded())[2]
    number = (both > 0).sum(1)
    assert number.min() == 2 and number.max() == 30
    assert abs(number.float().log().exp().median() - 8) <= 2


def test_remix_gives_babble_in_place_of_noise():
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 40, 800)
    remix = Remix(5, 5, noise_effects=[Babble(0.5)])
    noisy, same = remix.mix(clean, noise, seeded())
    added = noisy - clean
    ratio = clean.square().sum(1) / added.square().sum(1)
    assert torch.allclose(10 * ratio.log10(), torch.tensor(5.0), atol=0.01)
    like = (added @ noise.T).abs() / added.norm(dim=1, keepdim=True)
    recorded = (like / noise.norm(dim=1) > 0.99).any(1)
    assert 10 < recorded.sum() < 30
    assert torch.equal(same, clean)
    alone, _ = Remix(5, 5, noise_effects=[Babble(1)]).mix(
        clean[:1], noise[:1], seeded()
    )
    assert torch.allclose(
        (alone - clean[:1]) / noise[:1],
        ((alone - clean[:1]) / noise[:1]).mean(),
        atol=1e-3,
    )


def test_clipping_keeps_the_target():
    time = torch.arange(RATE) / RATE
    noisy = (2 * math.pi * 100 * time).sin()[None]
    clip = Clipping(1, depth_low=6, depth_high=6)
    heard, clean = clip.apply(noisy, noisy, seeded())
    limit = 10 ** (-6 / 20)
    assert abs(heard.abs().max() - limit) < 1e-4
    assert torch.allclose(heard, noisy.clamp(-limit, limit), atol=1e-4)
    assert torch.equal(clean, noisy)


def test_half_of_the_codecs_are_telephones():
    noisy = 0.1 * torch.randn(200, 4000, generator=seeded())
    heard, clean = Codec(1).apply(noisy, noisy, seeded(1))
    power = torch.fft.rfft(clean).abs().square()
    full = torch.fft.rfft(noisy).abs().square()
    above = 10 * (power[:, 1010:].mean(1) / full[:, 1010:].mean(1)).log10()
    phone = above < -20  # above 4.04 kHz
    assert 70 < phone.sum() < 130
    error = (heard - clean).square().mean(1) / clean.square().mean(1)
    # 8 bits after the mu-law: some 35 dB, whatever the level.
    assert (error[phone] < 10**-3.5).all() and (error[phone] > 1e-5).all()
    # What is lost is softer than what is kept.
    lost = error[~phone]
    assert (lost < 0.1).all() and lost.max() > 0.01
    # Each of a pair stays itself.
    torch.manual_seed(0)
    other = torch.randn(200, 4000)
    _, target = Codec(1).apply(noisy, other, seeded(1))
    likeness = (target * other).sum(1) / (target.norm(dim=1) ** 2)
    assert torch.allclose(likeness, torch.tensor(1.0), atol=0.05)
    untouched, target = Codec(0).apply(noisy, clean, seeded())
    assert torch.equal(untouched, noisy) and torch.equal(target, clean)


def test_remix_sends_mixtures_through_the_channel_last():
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 4, 800)
    lengths = torch.tensor([1, 0.5, 1, 1])
    clean[1, 400:] = noise[1, 400:] = 0
    for effect in (Clipping(1, 6, 6), Codec(1)):
        remix = Remix(0, 0, channel_effects=[effect])
        plain, _ = Remix(0, 0).mix(clean, noise, seeded(), lengths)
        noisy, target = remix.mix(clean, noise, seeded(), lengths)
        assert not noisy[1, 400:].any() and not target[1, 400:].any()
        assert not torch.equal(noisy, plain)
        if isinstance(effect, Clipping):
            peaks = plain.abs().amax(1) * 10 ** (-6 / 20)
            assert torch.allclose(noisy.abs().amax(1), peaks, rtol=1e-4)


@pytest.mark.parametrize("ratio", [0.85, 1.18])
def test_formants_move_and_the_pitch_stays(ratio):
    # A buzz of 125 Hz with one formant at 1500 Hz.
    time = torch.arange(2 * RATE) / RATE
    number = torch.arange(1, 60)[:, None]
    level = (-(((125 * number - 1500) / 300) ** 2)).exp() + 1e-3
    voice = (level * (2 * math.pi * 125 * number * time).sin()).sum(0)[None]
    heard = VocalTract(1, RATE, ratio, ratio)(voice, seeded())
    before, after = (
        torch.fft.rfft(signal[0, RATE // 2 : RATE // 2 + RATE]).abs()
        for signal in (voice, heard)
    )
    lines = 125 * torch.arange(1, 60)
    # All energy is at multiples of the pitch still.
    beside = after.clone()
    for shift in (-2, -1, 0, 1, 2):
        beside[lines + shift] = 0
    assert beside.square().sum() < 0.01 * after.square().sum()
    center = [
        (lines * power[lines].square()).sum() / power[lines].square().sum()
        for power in (before, after)
    ]
    assert abs(center[0] - 1500) < 20
    assert abs(center[1] / center[0] - ratio) < 0.04
