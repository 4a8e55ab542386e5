"""The rows of the models that ship, and how they are replaced."""

import pytest
from helpers import leaderboard_runs
from helpers.causal_model import write_live_model
from helpers.pages import ROOT

from phasen_sb.errors import UserError
from phasen_sb.leaderboard import read_published, read_runs
from phasen_sb.leaderboard.entries import read_own
from phasen_sb.leaderboard.own import replace_own


def test_own_rows_are_zero_shot_and_in_the_documentation():
    ours, *_ = [entry for entry in read_own() if entry.zero_shot]
    assert ours.system == "phasen_sb, default model"
    assert ours.kind == "Our model, zero-shot" and ours.comparable
    assert "zero-shot, training data: open corpus" in ours.flags
    assert "metric-optimised: PESQ loss" in ours.flags
    commit = ours.measured.split()[-1]
    for page, metrics in (
        ("docs/comparison.md", ("pesq_wb", "csig", "cbak", "covl", "stoi")),
        ("README.md", ("pesq_wb", "stoi")),
    ):
        text = (ROOT / page).read_text(encoding="utf-8")
        rows = [r for r in text.splitlines() if ", zero-shot |" in r]
        shown = [[f.split()[0] for f in r.split("|")[2:-1]] for r in rows]
        scores = [ours.format_score(m) for m in metrics]
        scores.append(f"{ours.scores['si_sdr']:.1f}")
        assert shown == [scores], f"{page} has other scores than own.csv"
        assert commit in text
    count = f"{len(read_published())} published"
    for page in ("README.md", "docs/score.md"):
        assert count in (ROOT / page).read_text(encoding="utf-8")


def test_own_rows_are_replaced_by_scores_of_the_literatures_files(
    tmp_path, tmp_path_factory
):
    base = tmp_path_factory.getbasetemp()
    voicebank_run = leaderboard_runs.voicebank_run(base)
    training_run = leaderboard_runs.training_run(base)
    table = tmp_path / "own.csv"
    measured = "2027-01-02, commit abc1234"
    rows = replace_own(str(voicebank_run), measured, table)
    [ours] = [row for row in rows if row.zero_shot]
    [run] = read_runs([str(voicebank_run)])
    assert ours.scores == run.entry.scores != read_own()[1].scores
    assert ours.intervals == run.entry.intervals
    assert (ours.measured, ours.year) == (measured, "2027")
    assert rows[0].scores == run.noisy.scores
    # What was measured of others stays.
    assert rows[2:] == read_own()[2:]
    assert f"{ours.scores['pesq_wb']}," in table.read_text()
    with pytest.raises(UserError, match="824 test files"):
        replace_own(str(training_run), measured, table)


def test_a_causal_model_gets_a_row_of_its_own(tmp_path, tmp_path_factory):
    voicebank = leaderboard_runs.voicebank_run(tmp_path_factory.getbasetemp())
    live = write_live_model(tmp_path / "live")
    table, measured = tmp_path / "own.csv", "2027-01-02, commit abc1234"
    rows = replace_own(str(voicebank), measured, table, live)
    before = read_own()
    row = rows.pop(2)
    assert row.system == "phasen_sb, live model" and row.zero_shot
    assert (row.causal, row.latency_ms) == ("yes", 48)
    assert row.parameters_M < 1 and row.measured == measured
    # The other model and what was measured of others stay.
    assert rows[1:] == before[1:] and len(rows) == len(before)
