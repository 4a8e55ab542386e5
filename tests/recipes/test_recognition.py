"""The script that shows what enhancement does to a recogniser."""

import numpy as np
import pytest
import soundfile as sf

from phasen_sb.data.sample_corpus import sample_corpus
from phasen_sb.errors import UserError
from recipes.recognition import main, mix


@pytest.mark.parametrize("samples", [3000, 100])  # more than speech, and less
def test_noise_is_added_at_the_snr_without_clipping(samples):
    rng = np.random.default_rng(0)
    speech, noise = rng.standard_normal(1000), rng.standard_normal(samples)
    noisy, clean = mix(speech, noise, -5.0, rng)
    added = noisy - clean
    assert np.allclose(clean / speech, clean[0] / speech[0])
    assert np.abs(noisy).max() <= 0.9 + 1e-9
    snr = 10 * np.log10(np.mean(clean**2) / np.mean(added**2))
    assert abs(snr - -5) < 1e-6


def test_table_shows_the_words_of_the_sample_s_english_speaker(tmp_path):
    pytest.importorskip("pocketsphinx", reason="the extra asr")
    speech, noise = tmp_path / "speech", tmp_path / "noise" / "white"
    speech.mkdir()
    noise.mkdir(parents=True)
    for path in sample_corpus().glob("clean_trainset*/p228_00[12].flac"):
        (speech / path.name).symlink_to(path)
    hiss = 0.1 * np.random.default_rng(0).standard_normal(48000)
    sf.write(noise / "white.wav", hiss, 16000)
    out = tmp_path / "out"
    words = ["--speech", speech, "--noise", noise.parent, "--snrs", "40", "-5"]
    words += ["--strengths", "1", "--output_folder", out]
    main([str(word) for word in words])
    rows = (out / "table.md").read_text().splitlines()
    assert "noisy" in rows[0] and "strength 1" in rows[0]
    found = {row.split("|")[1].strip(): row.split("|")[2] for row in rows[2:]}
    errors = {snr: int(cell.split("[")[0]) for snr, cell in found.items()}
    assert errors["40 dB"] < errors["-5 dB"]
    assert len(list(out.glob("-5dB/strength-1/*.wav"))) == 2


def test_folder_without_audio_gives_a_sentence(tmp_path):
    pytest.importorskip("pocketsphinx", reason="the extra asr")
    words = ["--speech", tmp_path, "--noise", tmp_path]
    with pytest.raises(UserError, match="no FLAC or WAV files; give another"):
        main([str(word) for word in words])
