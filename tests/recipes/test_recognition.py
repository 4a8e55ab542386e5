"""The script that shows what enhancement does to a recogniser."""

import numpy as np
import pytest
import soundfile as sf

from phasen_sb.data.sample_corpus import sample_corpus
from phasen_sb.errors import UserError
from recipes.recognition import main, parse, write_pairs


def write_corpus(folder, seconds):
    """The sample's English speaker, and seconds of hiss."""
    speech, noise = folder / "speech", folder / "noise"
    speech.mkdir()
    (noise / "white").mkdir(parents=True)
    for path in sample_corpus().glob("clean_trainset*/p228_00[12].flac"):
        (speech / path.name).symlink_to(path)
    hiss = 0.1 * np.random.default_rng(0).standard_normal(seconds * 16000)
    sf.write(noise / "white" / "white.wav", hiss, 16000)
    return speech, noise


@pytest.mark.parametrize("seconds", [9, 1])  # more than speech, and less
def test_noise_is_added_at_the_snr(seconds, tmp_path):
    speech, noise = write_corpus(tmp_path, seconds)
    words = ["--speech", speech, "--noise", noise, "--files", "1"]
    options = parse([*map(str, words), "--output_folder", str(tmp_path / "o")])
    write_pairs(options, "pair", -5.0)
    noisy, clean = (
        sf.read(tmp_path / f"o/pair/{part}/p228_001.wav")[0]
        for part in ("noisy", "clean")
    )
    snr = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
    assert abs(snr - -5) < 0.01


def test_table_shows_the_words_of_the_sample_s_english_speaker(tmp_path):
    pytest.importorskip("pocketsphinx", reason="the extra asr")
    speech, noise = write_corpus(tmp_path, 3)
    out = tmp_path / "out"
    words = ["--speech", speech, "--noise", noise, "--snrs", "40", "-5"]
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
    with pytest.raises(UserError, match="no audio files in it"):
        main([str(word) for word in words])
