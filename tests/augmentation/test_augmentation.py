"""Batches are remixed at the SNRs asked for; effects do what they say."""

import pytest
import torch

from phasen_sb.augmentation import (
    AugmentedBatches,
    Coloration,
    Hiss,
    LevelChanges,
    Pauses,
    Remix,
    Reverberation,
    Speed,
)
from phasen_sb.utils.seeding import seeded_generator


def snr(noisy, clean):
    noise = (noisy - clean).square().sum(1)
    return 10 * torch.log10(clean.square().sum(1) / noise)


def test_snr_is_exact_also_in_unequal_batches():
    torch.manual_seed(0)
    counts = torch.tensor([1600, 400, 800, 1600])
    valid = torch.arange(1600) < counts.unsqueeze(1)
    clean = torch.randn(4, 1600) * valid
    noisy = clean + 0.3 * torch.randn(4, 1600) * valid
    mixed, same = Remix(5, 5)(noisy, clean, "seed", counts / 1600)
    assert same is clean
    assert torch.allclose(snr(mixed, clean), torch.full((4,), 5.0), atol=1e-3)
    assert not mixed[~valid].any()


def test_seed_decides_and_probability_switches_off():
    clean, noise = torch.randn(4, 100), torch.randn(4, 100)
    remix = Remix(0, 20)
    one = remix(clean + noise, clean, "1")[0]
    assert torch.equal(one, remix(clean + noise, clean, "1")[0])
    assert not torch.equal(one, remix(clean + noise, clean, "2")[0])
    noisy = clean + noise
    assert Remix(0, 20, probability=0)(noisy, clean, "1")[0] is noisy


def test_earlier_versions_drew_the_same():
    time = torch.arange(1600) * torch.tensor([[0.02], [0.05], [0.11], [0.23]])
    clean, noise = time.sin(), (7 * time).cos() * (time * 0.01).sin()
    noise[2] = 0
    voice = [Speed(0.5), Pauses(0.5), Coloration(0.5), Reverberation(0.5)]
    other = [Speed(0.5, repeat=True), Coloration(0.5), Hiss(0.5)]
    remix = Remix(-5, 20, 1.0, 0.5, 0.2, voice, other)
    lengths = torch.tensor([1, 0.8, 1, 0.9])
    pair = remix(clean + noise, clean, "a", lengths)
    expected = (
        [-0.1297, -0.1023, -0.0257, 0.2819, -1.4775, 1.2571]
        + [-0.1102, 0.134, 0.0712, -0.7768, 0.9726, 0.4345],
        [-0.0021, -0.3502, -0.2008, 0.3781, -1.1166, 0.5679]
        + [0.0003, 0.0002, 0.1228, -0.7003, 0.6963, 0.0087],
    )
    for wave, values in zip(pair, expected, strict=True):
        found = wave[:, 400:1201:400].flatten()
        assert torch.allclose(found, torch.tensor(values), atol=2e-4)
    # What has the probability 0 leaves the other draws as they are.
    remix.speech_effects.insert(1, LevelChanges(0))
    remix.noise_effects.append(LevelChanges(0))
    again = remix(clean + noise, clean, "a", lengths)
    assert all(map(torch.equal, pair, again))


def test_noises_may_come_apart():
    torch.manual_seed(0)
    clean, noise = torch.randn(6, 800), torch.randn(4, 800)
    noise[2] = 0
    generator = torch.Generator().manual_seed(0)
    remix = Remix(5, 5, probability=0)  # it mixes whatever the share
    mixed, same = remix.mix(clean, noise, generator)
    assert torch.equal(same, clean)
    assert torch.allclose(snr(mixed, clean), torch.full((6,), 5.0), atol=1e-3)
    shares = ((mixed - clean) @ noise.T).abs().argmax(1)
    assert shares.bincount().tolist() == [2, 2, 0, 2]
    # A pair's own noise is mixed the same way.
    noise = torch.randn(6, 800)
    generator = seeded_generator("1")
    torch.rand((), generator=generator)  # whether the batch is remixed
    mixed, _ = remix.mix(clean, noise, generator)
    expected, _ = Remix(5, 5)(clean + noise, clean, "1")
    assert torch.allclose(mixed, expected, atol=1e-5)


def test_hiss_falls_and_keeps_the_energy():
    torch.manual_seed(0)
    waves = torch.randn(64, 16000) * torch.rand(64, 1)
    noise = Hiss(1)(waves, torch.Generator().manual_seed(0))
    assert torch.allclose(
        noise.square().sum(1), waves.square().sum(1), rtol=1e-4
    )
    power = torch.fft.rfft(noise).abs().square()
    # From 500 Hz to 4 kHz, three octaves of -4.5 dB on the average.
    fall = 10 * torch.log10(
        power[:, 450:550].mean(1) / power[:, 3900:4100].mean(1)
    )
    assert 9 < fall.mean() < 18 and fall.std() > 6


def test_silence_gives_no_nan():
    silent = torch.zeros(2, 100)
    speech = torch.randn(2, 100)
    for clean, noise in ((silent, speech), (speech, silent)):
        mixed, _ = Remix(0, 0)(clean + noise, clean, "1")
        assert torch.equal(mixed, clean)
    with pytest.raises(ValueError, match="must not exceed"):
        Remix(10, 0)


def test_pairs_without_noise_get_that_of_others():
    torch.manual_seed(0)
    clean, noise = torch.randn(6, 800), torch.randn(6, 800)
    noise[[0, 3, 4, 5]] = 0
    mixed, _ = Remix(5, 5)(clean + noise, clean, "1")
    assert torch.allclose(snr(mixed, clean), torch.full((6,), 5.0), atol=1e-3)
    kinds = (mixed - clean) / (mixed - clean).norm(dim=1, keepdim=True)
    alike = (kinds @ kinds.T > 0.9).sum(1)
    assert (alike == 3).all()  # two noises, three utterances each


def test_second_noise_is_softer():
    torch.manual_seed(0)
    clean, noise = torch.randn(8, 4000), torch.randn(8, 4000)
    heard = []
    for second in (0, 1):
        remix = Remix(0, 0, second_probability=second)
        mixed, _ = remix(clean + noise, clean, "1")
        heard.append(((mixed - clean) @ noise.T / 4000).square().sort(1))
    alone, both = heard
    # The first stays the louder; a second one is heard.
    assert torch.equal(alone.indices[:, -1], both.indices[:, -1])
    for shares, low, high in ((alone, 20, 200), (both, -0.5, 12.5)):
        strongest = 10 * torch.log10(shares.values[:, -2:])
        ratio = strongest[:, 1] - strongest[:, 0]
        assert (low < ratio).all() and (ratio < high).all()
    assert torch.allclose(snr(mixed, clean), torch.zeros(8), atol=1e-3)


def test_a_share_of_the_speech_stays_clean():
    torch.manual_seed(0)
    clean = torch.randn(1000, 80)
    noisy = clean + torch.randn(1000, 80)
    mixed, same = Remix(5, 5, clean_probability=0.2)(noisy, clean, "1")
    untouched = (mixed == same).all(1)
    assert same is clean and 150 < untouched.sum() < 250
    others = snr(mixed, clean)[~untouched]
    assert torch.allclose(others, torch.full_like(others, 5.0), atol=1e-3)
    with pytest.raises(ValueError, match="clean_probability"):
        Remix(5, 5, clean_probability=2)


def test_rooms_ring_as_long_as_they_should():
    room = Reverberation(1, 16000, 0.4, 0.4, direct_low=0, direct_high=0)
    drawn = room.draw(64, 1, torch.Generator().manual_seed(0))
    responses = room.make_rooms(*drawn)
    tails = responses[:, 1:].square()
    assert torch.allclose(tails.sum(1), torch.ones(64), atol=1e-4)
    # Its low frequencies fall by 30 dB from 0.14 to 0.34 s.
    low = (responses[:, 1:] + responses[:, :-1]).square().mean(0)
    levels = 10 * torch.log10(low.unfold(0, 400, 400).mean(1))
    assert -33 < levels[13] - levels[5] < -27
    click = torch.zeros(1, 4000)
    click[0, 100] = 1
    heard = room(click, torch.Generator())
    assert not heard[0, :90].abs().gt(1e-5).any()


def test_speed_shifts_the_pitch_and_repeats_noise():
    tone = torch.sin(torch.arange(16000) * 2 * torch.pi * 1000 / 16000)[None]
    for repeat in (False, True):
        fast = Speed(1, speeds=[1.25], repeat=repeat)(tone, torch.Generator())
        assert fast.shape == tone.shape
        spectrum = torch.fft.rfft(fast[0, :8000]).abs()
        assert spectrum.argmax() == 1250 * 8000 / 16000
        assert fast[0, 13000:].any() == repeat
    # What would be above half the sample rate is gone.
    high = torch.sin(torch.arange(16000) * 2 * torch.pi * 7800 / 16000)[None]
    fast = Speed(1, speeds=[1.25])(high, torch.Generator())
    assert fast[0, 100:12700].abs().max() < 0.05


def test_colours_keep_time_and_limit_the_band():
    torch.manual_seed(0)
    wave = torch.randn(4, 16000)
    limit = Coloration(
        1, spread=0, limit_probability=1, limit_low=4000, limit_high=4000
    )
    spectrum = torch.fft.rfft(limit(wave, torch.Generator())).abs()
    before = torch.fft.rfft(wave).abs()
    assert torch.allclose(
        spectrum[:, 100:3900], before[:, 100:3900], rtol=0.2, atol=5
    )
    assert spectrum[:, 4800:].mean() < 0.01 * before[:, 4800:].mean()
    click = torch.zeros(1, 16000)
    click[0, 8000] = 1
    heard = Coloration(1, limit_probability=0)(
        click, torch.Generator().manual_seed(0)
    )
    assert heard.abs().argmax() == 8000


def test_colours_spread_by_4_db_unless_told_otherwise():
    click = torch.zeros(1, 16000)
    click[0, 0] = 1
    usual, wide = (
        20
        * torch.fft.rfft(
            Coloration(1, spread=spread, limit_probability=0)(
                click, torch.Generator().manual_seed(0)
            ),
            32000,
        )
        .abs()
        .log10()
        for spread in (None, 8.0)
    )
    assert torch.allclose(2 * usual, wide, atol=0.3)


def test_pauses_keep_a_stretch_around_the_loudest_moment():
    waves = torch.full((64, 16000), 0.5)
    waves[:, 8000] = 1
    generator = torch.Generator().manual_seed(0)
    heard = Pauses(1, kept_low=0.2, kept_high=0.3)(waves, generator)
    assert (heard[:, 8000] == 1).all()
    whole = heard == waves
    assert (3199 < whole.sum(1)).all() and (whole.sum(1) < 4802).all()
    # One stretch, with fades of 10 ms.
    assert (whole.diff(dim=1).sum(1) <= 2).all()
    assert ((heard != 0).sum(1) - whole.sum(1) <= 2 * 160).all()


def test_levels_change_within_signals():
    change = LevelChanges(1, 16000, -30, -10, segments=3, fade=0.01)
    generator = torch.Generator().manual_seed(0)
    curves = change(torch.ones(64, 32000), generator)
    levels = 20 * curves.log10()
    steady = (levels.diff(dim=1).abs() < 1e-5).float().mean(1)
    assert (steady > 1 - 2 * 165 / 32000).all()
    assert torch.allclose(levels.amax(1), torch.zeros(64), atol=1e-5)
    assert (levels.amin(1) < -10).all() and (levels >= -30.001).all()
    assert curves.diff(dim=1).abs().max() <= 1 / 160 + 1e-6  # no clicks
    # Near voices come first, last or between.
    for at in (0, 16000, -1):
        assert 8 < (levels[:, at] > -0.01).sum() < 40
    silent = LevelChanges(1, silence_probability=1)(curves, generator)
    share = (silent == 0).float().mean(1)
    assert (share > 0.2).all() and (share < 0.95).all()
    for wrong in ({"segments": 1}, {"silence_probability": 2}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LevelChanges(1, **wrong)


def test_levels_change_in_speech_and_target_alike():
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 8, 16000)
    remix = Remix(20, 20, speech_effects=[LevelChanges(1, level_high=-20)])
    mixed, target = remix(clean + noise, clean, "1")
    gain = target / clean
    assert ((gain > 0.999).any(1) & (gain < 0.101).any(1)).all()
    added = (mixed - target).unfold(1, 1600, 1600).std(2)
    assert (added.amax(1) < 1.2 * added.amin(1)).all()  # the noise stays


@pytest.mark.parametrize(
    "effect",
    [
        Speed(0.5),
        Pauses(0.5),
        LevelChanges(0.5),
        Reverberation(0.5),
        Coloration(0.5),
        Hiss(0.5),
    ],
)
def test_effects_change_a_share_and_follow_the_generator(effect):
    torch.manual_seed(0)
    waves = torch.randn(64, 1600)
    one = effect(waves, torch.Generator().manual_seed(1))
    other = effect(waves, torch.Generator().manual_seed(1))
    assert torch.equal(one, other)
    changed = (one != waves).any(1).sum()
    assert 16 < changed < 48
    assert torch.isfinite(one).all()
    silent = effect(torch.zeros(8, 1600), torch.Generator().manual_seed(1))
    assert not silent.any()
    with pytest.raises(ValueError, match="probability"):
        type(effect)(1.5)


def test_autocast_leaves_effects_exact():
    torch.manual_seed(0)
    clean, noise = torch.randn(4, 1600), torch.randn(4, 1600)
    remix = Remix(5, 5, speech_effects=[Speed(1, speeds=[1.25])])
    generator = torch.Generator().manual_seed(0)
    exact = remix.speech_effects[0](clean, generator)
    with torch.autocast("cpu", torch.bfloat16):
        _, target = remix(clean + noise, clean, "1")
    assert torch.equal(target, exact)


def test_effects_change_the_target_and_leave_padding_alone():
    torch.manual_seed(0)
    clean, noise = torch.randn(4, 1600), torch.randn(4, 1600)
    clean[1, 800:] = noise[1, 800:] = 0
    lengths = torch.tensor([1.0, 0.5, 1.0, 1.0])
    remix = Remix(
        5, 5, speech_effects=[Reverberation(1)], noise_effects=[Hiss(1)]
    )
    mixed, target = remix(clean + noise, clean, "1", lengths)
    assert not torch.equal(target, clean)
    assert not target[1, 800:].any() and not mixed[1, 800:].any()
    assert torch.allclose(snr(mixed, target), torch.full((4,), 5.0), atol=1e-3)


def test_batches_are_drawn_by_epoch_and_utterances():
    def pair(name, count):
        generator = torch.Generator().manual_seed(count)
        clean, noise = torch.randn(2, count, generator=generator)
        return {"id": name, "noisy_sig": clean + noise, "clean_sig": clean}

    class Counter:
        current = 1

    collate = AugmentedBatches(Remix(-5, 20), 1, Counter)
    pairs = [pair("a", 800), pair("b", 1600), pair("c", 1200)]
    first, again = collate(pairs), collate(pairs)
    assert torch.equal(first.noisy_sig.data, again.noisy_sig.data)
    assert first.noisy_sig.lengths.tolist() == [0.5, 1.0, 0.75]
    for Counter.current in range(9):  # whosever noise it gets
        noisy = collate(pairs).noisy_sig.data
        assert not noisy[0, 800:].any() and not noisy[2, 1200:].any()
    Counter.current = 1
    assert torch.equal(first.clean_sig.data[1], pairs[1]["clean_sig"])
    found = snr(first.noisy_sig.data, first.clean_sig.data)
    assert found.amax() - found.amin() > 1  # all were about 0 dB
    faster = Remix(5, 5, speech_effects=[Speed(1, speeds=[1.25])])
    changed = AugmentedBatches(faster, 1)(pairs)
    assert not torch.equal(changed.clean_sig.data, first.clean_sig.data)
    found = snr(changed.noisy_sig.data, changed.clean_sig.data)
    assert torch.allclose(found, torch.full((3,), 5.0), atol=1e-3)
    Counter.current = 2
    assert not torch.equal(first.noisy_sig.data, collate(pairs).noisy_sig.data)
    Counter.current = 1
    others = [pairs[0], pairs[1], pairs[2] | {"id": "d"}]
    assert not torch.equal(first.noisy_sig.data, collate(others).noisy_sig.data)
