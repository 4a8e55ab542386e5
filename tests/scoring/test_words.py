"""Word errors: transcripts, counts, rates, and `phasen score` with them."""

import json

import numpy as np
import pytest

from phasen_sb.cli import main
from phasen_sb.data import sample_corpus
from phasen_sb.errors import UserError
from phasen_sb.scoring.transcripts import read_transcripts, split_words
from phasen_sb.scoring.word_errors import count_errors, score_words

CLEAN = sample_corpus() / "clean_testset_wav_16k"
NOISY = sample_corpus() / "noisy_testset_wav_16k"
FILES = sorted(path.stem for path in CLEAN.glob("*.flac"))


@pytest.mark.parametrize(
    ("hypothesis", "substitutions", "deletions", "insertions"),
    [
        ("The cat sat on the mat.", 0, 0, 0),
        ("the hat sat on a mat", 2, 0, 0),
        ("cat sat on mat", 0, 2, 0),
        ("the the cat sat right on the mat", 0, 0, 2),
        ("", 0, 6, 0),
    ],
)
def test_known_edits(hypothesis, substitutions, deletions, insertions):
    assert count_errors("The cat sat on the mat", hypothesis) == {
        "substitutions": substitutions,
        "deletions": deletions,
        "insertions": insertions,
        "words": 6,
    }


def test_case_punctuation_and_scripts_do_not_count():
    assert split_words("'Tis \u201cna\u00efve\u201d, isn\u2019t it?") == [
        *("tis", "na\u00efve", "isn't", "it")
    ]
    assert split_words(
        "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!"
    ) == [
        "\u043f\u0440\u0438\u0432\u0435\u0442",
        "\u043c\u0438\u0440",
    ]


def test_rates_are_of_all_words_and_differences_are_paired():
    draw = np.random.default_rng(0)
    reference = {
        str(key): " ".join(["word"] * draw.integers(5, 20)) for key in range(40)
    }
    heard = {name: {} for name in ("worse", "better")}
    for key, text in reference.items():
        words = text.split()
        missed = draw.integers(2, 5)
        heard["worse"][key] = " ".join(words[missed:])
        heard["better"][key] = " ".join(words[missed - 1 :])
    # What nobody said cannot be misheard.
    reference["silence"] = "..."
    heard["worse"]["silence"] = "something"
    found = score_words(reference, heard)
    total = sum(len(text.split()) for text in reference.values()) - 1
    worse = found["systems"]["worse"]
    assert (worse["words"], worse["files"]) == (total, 40)
    assert worse["wer"] == pytest.approx(worse["deletions"] / total)
    low, high = worse["ci95"]
    assert low < worse["wer"] < high and high - low > 0.02
    [comparison] = found["comparisons"]
    assert comparison["difference"] == pytest.approx(-40 / total)
    # One error fewer in each file: much surer than either rate.
    low, high = comparison["ci95"]
    assert high - low < (worse["ci95"][1] - worse["ci95"][0]) / 2 and high < 0


def test_errors_stay_with_the_words_of_their_file():
    reference = {str(n): "word " * 2 * n for n in range(1, 9)}
    half = {key: text[: len(text) // 2] for key, text in reference.items()}
    [found] = score_words(reference, {"half": half})["systems"].values()
    assert found["wer"] == 0.5 and found["ci95"] == [0.5, 0.5]


def test_transcripts_of_both_forms(tmp_path):
    table = tmp_path / "text"
    table.write_text("a One two\n\nb\nc three\n", encoding="utf-8-sig")
    assert read_transcripts(table) == {"a": "One two", "b": "", "c": "three"}
    folder = tmp_path / "txt"
    folder.mkdir()
    (folder / "p1.txt").write_text("Please call Stella.\n")
    assert read_transcripts(folder) == {"p1": "Please call Stella.\n"}
    table.write_text("a one\na two")
    with pytest.raises(UserError, match="names a twice"):
        read_transcripts(table)
    for empty in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match="cannot be read|no transcripts"):
            read_transcripts(empty)


def score(tmp_path, *words) -> int:
    folders = ["--clean", CLEAN, "--noisy", NOISY]
    folders += ["--enhanced", f"ours={tmp_path / 'enhanced'}"]
    options = ["--metrics", "si_sdr", "--jobs", "1", "--out", tmp_path / "out"]
    return main(["score", *map(str, [*folders, *options, *words])])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "enhanced").symlink_to(NOISY)
    said = "".join(f"{name} one two three four\n" for name in FILES)
    (tmp_path / "said").write_text(said)
    (tmp_path / "noisy").write_text(said.replace("two", "too"))
    (tmp_path / "ours").write_text(said.replace("four", "four five", 1))
    return tmp_path


def test_score_with_transcripts_of_ones_own_recogniser(folder, capsys):
    words = ["--transcripts", folder / "said", "--recognised"]
    words += [f"noisy={folder}/noisy", f"ours={folder}/ours"]
    assert score(folder, *words) == 0
    shown = capsys.readouterr().out
    record = json.loads((folder / "out" / "scores.json").read_text())
    systems = record["word_errors"]["systems"]
    assert systems["noisy"]["wer"] == 0.25
    assert systems["ours"]["wer"] == pytest.approx(1 / 24)
    assert systems["ours"]["insertions"] == 1
    assert "| ours  | 4.2 % [0.0, 12.5] " in shown
    assert "is better in word error rate; " in shown


def test_incomplete_transcripts_are_named(folder, capsys):
    (folder / "others").write_text("x one")
    said = ["--transcripts", folder / "said"]
    for words, message in {
        (*said,): "give --recognised or --recogniser",
        ("--recognised", f"ours={folder}/ours"): "give --transcripts, or",
        (*said, "--recognised", f"x={folder}/ours"): "one of noisy, ours",
        (*said, "--recognised", f"ours={folder}/others"): "ours names none of",
    }.items():
        assert score(folder, *words) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_recogniser_hears_less_in_noise(tmp_path):
    pytest.importorskip("pocketsphinx", reason="the extra asr")
    clean, noisy = tmp_path / "clean", tmp_path / "noisy"
    for folder in (clean, noisy):
        folder.mkdir()
        # The English speaker of the sample corpus.
        source = sample_corpus() / f"{folder.name}_trainset_28spk_wav_16k"
        for path in sorted(source.glob("p228_00[12].flac")):
            (folder / path.name).symlink_to(path)
    words = ["score", "--clean", clean, "--enhanced", noisy, "--jobs", "1"]
    words += ["--recogniser", "pocketsphinx", "--metrics", "si_sdr"]
    assert main([str(w) for w in [*words, "--out", tmp_path / "out"]]) == 0
    record = json.loads((tmp_path / "out" / "scores.json").read_text())
    system = record["word_errors"]["systems"]["noisy"]
    assert system["words"] > 5 and system["wer"] > 0.3
    assert "hears them in the clean files" in record["word_errors"]["source"]
