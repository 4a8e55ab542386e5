"""The benchmark of live speech measures blocks of both engines."""

import pytest
from helpers.causal_model import build

from phasen_sb.benchmark import live


def test_table_of_percentiles(monkeypatch, capsys):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = build("convolutions")
    monkeypatch.setattr(live, "build", lambda *_: model)
    live.main(["--seconds", "0.5"])
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in capsys.readouterr().out.splitlines()[2:6]
    ]
    assert [row[:2] for row in rows] == [
        [engine, time]
        for engine in ("onnxruntime", "pytorch")
        for time in ("clock", "processor")
    ]
    for row in rows:
        rtf, median, *_, worst = map(float, row[2:])
        assert 0 < median <= worst and 0.1 < 16 * rtf / median < 10


def test_blocks_are_counted():
    found = live.measure_blocks(build("convolutions"), "pytorch", 0.5)
    assert found.block == 0.016 and len(found.clock) == 31
    assert (found.clock > 0).all()
