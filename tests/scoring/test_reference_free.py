"""Scores of folders without clean files."""

import importlib.util
import json

import numpy as np
import pytest

from phasen_sb.cli import main
from phasen_sb.data import sample_corpus
from phasen_sb.metrics import MetricError
from phasen_sb.metrics.distillmos import distillmos
from phasen_sb.scoring.systems import find_systems

CLEAN = sample_corpus() / "clean_testset_wav_16k"
NOISY = sample_corpus() / "noisy_testset_wav_16k"
FILES = sorted(path.stem for path in CLEAN.glob("*.flac"))


def test_names_are_those_of_the_noisy_or_the_first_files(tmp_path):
    enhanced = tmp_path / "enhanced"
    enhanced.mkdir()
    for name in FILES[:2]:
        source = NOISY / f"{name}.flac"
        (enhanced / f"{name}.enhanced.flac").symlink_to(source)
    (enhanced / "extra.enhanced.flac").symlink_to(NOISY / f"{FILES[2]}.flac")
    clean, (noisy, ours) = find_systems(None, [str(enhanced)], str(NOISY))
    assert clean == {} and list(noisy.files) == FILES
    assert list(ours.files) == FILES[:2]
    assert (ours.missing, ours.extra) == (FILES[2:], ["extra"])
    _, [ours] = find_systems(None, [str(enhanced)])
    assert sorted(ours.files) == ["extra", *FILES[:2]]


def score(out, *words) -> int:
    options = ("--jobs", "1", "--out", out)
    return main(["score", *map(str, (*words, *options))])


def test_what_cannot_be_done_is_said(tmp_path, capsys):
    out = tmp_path / "out"
    for words, message in {
        ("--enhanced", NOISY): "Give either --clean and a folder, or --ref",
        (
            *("--reference-free", "--enhanced", NOISY),
            *("--clean", CLEAN),
        ): "Give either --clean and a folder, or --ref",
        (
            *("--reference-free", "--enhanced", NOISY),
            *("--metrics", "stoi", "pesq_wb"),
        ): "stoi, pesq_wb cannot be computed without clean files; of the",
    }.items():
        assert score(out, *words) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


@pytest.mark.skipif(
    importlib.util.find_spec("distillmos") is None,
    reason="needs the extra distillmos",
)
def test_scores_without_references(tmp_path, capsys):
    words = ("--reference-free", "--noisy", NOISY, "--enhanced", f"c={CLEAN}")
    words += ("--metrics", "distillmos")
    assert score(tmp_path, *words) == 0
    shown = capsys.readouterr().out
    assert "Verdict: c against noisy is better in Distill-MOS (paired" in shown
    record = json.loads((tmp_path / "scores.json").read_text())
    assert record["clean_folder"] is None and record["sanity"] is None
    means = {k: s["mean"]["distillmos"] for k, s in record["systems"].items()}
    assert means["noisy"] < 3.5 < 4 < means["c"] < 5
    assert (tmp_path / "scores.png").stat().st_size > 10000


def test_distillmos_of_noise_is_low_and_independent_of_the_level():
    pytest.importorskip("distillmos", reason="the extra distillmos")
    noise = np.random.default_rng(0).normal(size=48000)
    score = distillmos(0.1 * noise)
    assert 1 <= score < 2
    assert distillmos(0.001 * noise) == pytest.approx(score, abs=0.02)
    with pytest.raises(MetricError, match="silent"):
        distillmos(np.zeros(16000))
    with pytest.raises(ValueError, match="16000 Hz"):
        distillmos(noise, 8000)
