"""What is known of VoiceBank-DEMAND before anything is enhanced."""

from pathlib import Path

from phasen_sb.metrics import MetricReport
from phasen_sb.scoring.report import to_record, to_text
from phasen_sb.scoring.sanity import check_voicebank
from phasen_sb.scoring.systems import FolderScores, System


def test_sanity_check_of_voicebank():
    names = [f"p{s}_{i:03}" for s in (232, 257) for i in range(1, 413)]
    assert check_voicebank(names, 1.9799).startswith("Sanity check passed")
    assert check_voicebank(names, 1.9801).startswith(
        "WARNING: these data differ from the literature's"
    )
    assert "--noisy" in check_voicebank(names, None)
    assert "823 files" in check_voicebank(names[1:], 1.97)
    assert check_voicebank(["p232_001", "p257_002"], 1.97) is None
    assert check_voicebank([*names[1:], "p226_001"], 1.97) is None


def test_sanity_warning_is_the_first_line():
    # Scores of 824 files with VoiceBank's names that are not VoiceBank's.
    names = [f"p{s}_{i:03}" for s in (232, 257) for i in range(1, 413)]
    report = MetricReport(("pesq_wb",), {n: {"pesq_wb": 2.5} for n in names})
    noisy = System("noisy", Path("noisy"), {}, report=report)
    scores = FolderScores([noisy], {}, [], Path("clean"))
    first_line = to_text(scores, to_record(scores)).splitlines()[0]
    assert first_line.startswith("WARNING: these data differ")
    assert "2.500 instead of 1.97" in first_line
