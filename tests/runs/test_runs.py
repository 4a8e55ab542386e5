"""`phasen runs` on runs that are finished, stopped, resumed and damaged."""

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from phasen_sb.cli import main
from phasen_sb.runs.record import find_runs, measure_time
from phasen_sb.runs.settings import describe_own, find_differences

EARLIER = Path(__file__).parents[1] / "fixtures" / "earlier" / "run"
EPOCH = "epoch: {}, lr: 1.00e-03 - train loss: {} - valid loss: 0.5"
LOG = """\
2026-11-27 22:00:00,000 - speechbrain.core - INFO - Beginning experiment!
2026-11-27 22:30:00,000 - phasen_sb - INFO - saved
2026-11-28 10:00:00,000 - speechbrain.utils.quirks - INFO - Applied quirks
2026-11-28 10:00:00,500 - speechbrain.core - INFO - Beginning experiment!
a line of another kind
2026-11-28 11:00:00,500 - phasen_sb - INFO - Results are in results
"""


@pytest.fixture
def folder(tmp_path):
    """Runs as the recipe leaves them: one for each state, and a model."""
    results = json.loads((EARLIER / "results.json").read_text())
    settings = json.loads((EARLIER / "save" / "settings.json").read_text())

    def copy(name, **changes):
        run = tmp_path / "runs" / name
        (run / "save").mkdir(parents=True)
        for file in ("results.json", "train_log.txt"):
            shutil.copy(EARLIER / file, run / file)
        record = run / "save" / "settings.json"
        record.write_text(json.dumps(settings | changes))
        return run

    copy("deep/usual")
    better = copy("better", lr=0.5, processes=8)
    results["test"]["enhanced"]["pesq_wb"] = 3.5
    results["hardware"] = "NVIDIA <X>"
    (better / "results.json").write_text(json.dumps(results))
    (better / "log.txt").write_text(LOG)
    stopped = copy("stopped", lr=0.25)
    (stopped / "results.json").unlink()
    (stopped / "train_log.txt").write_text(EPOCH.format(1, 0.5))
    with open(copy("resumed") / "train_log.txt", "a") as log:
        log.write(EPOCH.format(2, 0.25))
    (copy("cut") / "results.json").write_text('{"test": {"noisy"')
    (copy("odd") / "results.json").write_text('{"test": [1]}')
    (copy("early") / "train_log.txt").unlink()
    (tmp_path / "runs" / "early" / "results.json").unlink()
    (tmp_path / "runs" / "early" / "save" / "settings.json").write_text("{")
    model = copy("model")  # as `phasen export` writes one
    (model / "model.ckpt").touch()
    return tmp_path / "runs"


def test_states_scores_and_time(folder):
    runs = {run.name: run for run in find_runs(folder)}
    states = {name: run.state for name, run in runs.items()}
    assert states == {
        "better": "finished",
        "deep/usual": "finished",
        "stopped": "unfinished",
        "resumed": "unfinished",
        "cut": "broken",
        "odd": "broken",
        "early": "broken",
    }
    better = runs["better"]
    assert better.scores["pesq_wb"] == 3.5
    assert better.noisy["pesq_wb"] == pytest.approx(1.25, abs=0.01)
    assert better.hours == 1.5 and better.ended.hour == 11
    assert better.hardware.startswith("8 x NVIDIA <X>, ")
    assert runs["resumed"].epochs == 2 and runs["resumed"].scores
    assert runs["stopped"].curves["train loss"] == [(1, 0.5)]
    assert "results.json cannot be read" in runs["cut"].reason
    assert "results.json is not what a training" in runs["odd"].reason
    assert "settings.json cannot be read" in runs["early"].reason
    assert measure_time("no times") == (None, None)


def test_command_lists_draws_and_writes_a_page(folder, tmp_path, capsys):
    picture, page = tmp_path / "curves.png", tmp_path / "runs.html"
    command = ["runs", str(folder), "--curves", str(picture)]
    assert main([*command, "--html", str(page)]) == 0
    captured = capsys.readouterr()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in captured.out.splitlines()
    ]
    assert [row[0] for row in rows[2:4]] == ["better", "deep/usual"]
    assert {row[0] for row in rows[-3:]} == {"cut", "odd", "early"}
    table = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}
    assert table["better"]["PESQ-wb"] == "3.50 (+2.25)"
    assert table["better"]["own settings"] == "lr=0.5, processes=8"
    assert table["better"]["time"] == "1.5 h"
    assert table["deep/usual"]["own settings"] == ""
    assert table["stopped"]["state"] == "unfinished, after epoch 1"
    assert table["stopped"]["own settings"] == "lr=0.25"
    assert len(re.findall("is broken: ", captured.err)) == 3
    with Image.open(picture) as image:
        assert image.format == "PNG" and image.width > 600
    text = page.read_text()
    assert text.count("data:image/svg+xml") == 3  # two losses and PESQ
    assert "7 runs, 2 finished, 2 unfinished, 3 broken" in text
    assert "NVIDIA &lt;X&gt;" in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)


def test_folders_without_runs_get_a_sentence(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    for name, sentence in (
        ("run", "has no training runs in it; give the folder"),
        ("rnu", "does not exist; did you mean"),
    ):
        assert main(["runs", str(tmp_path / name)]) == 1
        assert sentence in capsys.readouterr().err


def test_differences_of_settings():
    first = {"lr": 0.1, "opt": {"!tag": "!name:a.Adam", "lr": 0.1}, "seed": 1}
    other = {"lr": 0.1, "opt": {"!tag": "!name:a.SGD", "lr": 0.1}, "seed": 2}
    newer = {**first, "seed": 3, "new": None, "effects": [{"p": 0.5}]}
    found = find_differences([first, other, {}, newer])
    assert found == {
        "opt": ["Adam", "SGD", "-", "Adam"],
        "seed": ["1", "2", "-", "3"],
        "effects.0.p": ["-", "-", "-", "0.5"],
    }
    own = [describe_own(found, index) for index in range(4)]
    assert own[1] == ["opt=SGD", "seed=2"] and own[2] == []
    assert own[3] == ["seed=3", "effects.0.p=0.5"]
    many = {f"key{n}": ["0", "1", "0"] for n in range(9)}
    assert describe_own(many, 1)[-1] == "and 3 more"
