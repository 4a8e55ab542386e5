"""The benchmark measures what it says, on a small network."""

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.recipe_process import RECIPE

from phasen_sb.benchmark.report import to_markdown
from phasen_sb.benchmark.workloads import (
    Workload,
    keep_busy,
    load_other,
    measure,
)
from phasen_sb.errors import UserError

OTHER = """
import torch

def load():
    return torch.nn.Linear(800, 800)
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    base = RECIPE.parents[1] / "hparams" / "phasen.yaml"
    path.write_text(
        f"base: {base}\nnetwork: !new:phasen_sb.PHASEN\n"
        "    n_fft: !ref <n_fft>\n    recurrent_units: 4\n    dense_units: 4\n"
    )
    return str(path)


@pytest.mark.parametrize(
    ("task", "engine"),
    [
        ("enhance", "plain"),
        ("enhance", "optimized"),
        ("enhance in chunks", "optimized"),
        ("enhance a folder", "plain"),
        ("train", "plain"),
        ("load", "1 worker"),
        ("load", "corpus on device"),
    ],
)
def test_measures_time_and_memory(task, engine, small, monkeypatch):
    monkeypatch.setattr("phasen_sb.benchmark.workloads.ENOUGH", 0.01)
    found = measure(Workload(task, engine, "bf16", 1, 0.2), small)
    assert 1e-5 < found.time < 60
    assert found.memory is None or found.memory >= 0


def count_ticks(pid):
    """Hundredths of a second that a process has computed (Linux)."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[11])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_neighbours_keep_cores_busy_and_end():
    with keep_busy(2) as neighbours:
        deadline = time.monotonic() + 30
        while any(count_ticks(process.pid) < 10 for process in neighbours):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert len(neighbours) == 2
    assert all(process.returncode is not None for process in neighbours)


def test_measures_other_models_and_says_what_they_lack(tmp_path):
    path = tmp_path / "other.py"
    with pytest.raises(UserError, match="takes a Python file"):
        load_other(path)
    path.write_text("")
    with pytest.raises(UserError, match=r"defines no load\(\)"):
        load_other(path)
    path.write_text(OTHER)
    for task in ("enhance", "train"):
        workload = Workload(task, "other", "fp32", 1, 0.05, batch=2)
        assert measure(workload, "unused", str(path)).time > 0


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def load():\n    raise ImportError('no such code')", "no such code"),
        ("import torch\nload = lambda: torch.nn.Linear(3, 3)", "mat1 and mat2"),
        ("load = lambda: None", "NoneType"),
    ],
)
def test_a_broken_other_model_is_said_before_anything(
    code, reason, tmp_path, small, benchmark, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.py").write_text(code)
    monkeypatch.setattr(
        benchmark,
        "run_in_own_process",
        lambda _, function, *arguments: function(*arguments),
    )
    with pytest.raises(UserError, match=reason) as error:
        benchmark.main(
            ["--hparams", small, "--other", "other.py", "--output", "out"]
        )
    message = str(error.value)
    assert message.startswith("The model of other.py cannot be measured (")
    assert "\n" not in message and not (tmp_path / "out").exists()


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPE.parent))
    return importlib.import_module("benchmark")


def test_no_share_exceeds_the_peak(benchmark):
    key = {"precision": "fp32", "threads": 2}
    rows = [key | {"gflops": gflops} for gflops in (50.0, 400.0, None)]
    benchmark.add_shares(rows, {("fp32", 2): 200e9})
    assert [row["share"] for row in rows] == [0.125, 1.0, None]
    benchmark.add_shares(rows[:1], {("fp32", 2): 200e9})
    assert rows[0]["share"] == 0.25


def test_a_workload_that_fails_is_left_out(
    benchmark, monkeypatch, tmp_path, capsys
):
    def run(device, function, *arguments):
        if function is not measure:
            return 1e12
        if arguments[0].engine == "plain":
            raise torch.OutOfMemoryError("GPU is full.\nMore of it")
        return 0.5, None

    monkeypatch.setattr(benchmark, "run_in_own_process", run)
    monkeypatch.setattr(benchmark, "draw_growth", lambda *_: None)  # slow
    arguments = ["--output", str(tmp_path), "--threads", "1", "--seconds", "4"]
    benchmark.main(arguments)
    rows = json.loads((tmp_path / "benchmark.json").read_text())["rows"]
    assert rows and "plain" not in {row["engine"] for row in rows}
    assert "failed: GPU is full.\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("computes", "expected"), [("fp32", {"fp32"}), ("bf16", {"fp32", "bf16"})]
)
def test_bf16_is_not_emulated_unless_asked(
    computes, expected, benchmark, monkeypatch, tmp_path
):
    monkeypatch.setattr(benchmark, "fastest_precision", lambda _: computes)
    monkeypatch.setattr(benchmark, "draw_growth", lambda *_: None)  # slow
    monkeypatch.setattr(
        benchmark,
        "run_in_own_process",
        lambda _, function, *__: (0.5, None) if function is measure else 1e12,
    )
    arguments = ["--output", str(tmp_path), "--threads", "1", "--seconds", "4"]
    for more, precisions in (
        ([], expected),
        (["--precisions", "bf16"], {"bf16"}),
    ):
        benchmark.main(arguments + more)
        rows = json.loads((tmp_path / "benchmark.json").read_text())["rows"]
        assert {row["precision"] for row in rows} - {"-"} == precisions


#: Measures briefly, in processes that find everything imported.
QUICKLY = """
import multiprocessing
import sys
from phasen_sb.benchmark import workloads

workloads.ENOUGH = 0.05
if __name__ == "__main__":
    import benchmark

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["phasen_sb.benchmark.workloads"])
    benchmark.get_context = lambda _: context
    benchmark.main(sys.argv[1:])
"""


def test_command_writes_table_numbers_and_plot(tmp_path, small):
    (tmp_path / "quickly.py").write_text(QUICKLY)
    path = [str(RECIPE.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "quickly.py"]
        + ["--hparams", small, "--output", str(tmp_path / "out")]
        + ["--seconds", "0.2", "--threads", "1", "--train_batch", "1"]
        + ["--train_seconds", "0.2", "--precisions", "fp32"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    rows = record["rows"]
    assert [row["engine"] for row in rows] == [
        "plain",
        "optimized",
        "optimized",
        "plain",
        "optimized",  # beside a busy neighbour
        "1 worker",
        "corpus on device",
    ]
    assert [row["neighbours"] for row in rows] == [0, 0, 0, 0, 1, 0, 0]
    assert rows[0]["speedup"] == 1.0
    assert rows[1]["speedup"] == rows[0]["rtf"] / rows[1]["rtf"]
    assert to_markdown(rows) in done.stdout
    assert (tmp_path / "out" / "benchmark.png").stat().st_size > 5000
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"out", "quickly.py", "small.yaml"}


def test_what_was_measured_is_kept_when_stopped(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPE.parent))
    benchmark = importlib.import_module("benchmark")
    measured = []

    def stop_at_the_third(device, function, *arguments):
        if function is measure:
            measured.append(arguments[0])
            if len(measured) == 3:
                raise KeyboardInterrupt
        return (0.5, None) if function is measure else 1e12

    monkeypatch.setattr(benchmark, "run_in_own_process", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        benchmark.main(["--output", str(tmp_path), "--threads", "1"])
    record = json.loads((tmp_path / "benchmark.json").read_text())
    assert [row["time"] for row in record["rows"]] == [0.5, 0.5]
    assert record["planned_rows"] > 10
    assert {path.name for path in tmp_path.iterdir()} == {
        f"benchmark.{kind}" for kind in ("json", "md", "png")
    }
    with pytest.raises(UserError, match="is a file; give another --output"):
        benchmark.main(["--output", str(tmp_path / "benchmark.md")])


def test_gpu_has_lines_of_its_own(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPE.parent))
    benchmark = importlib.import_module("benchmark")
    options = argparse.Namespace(
        device="cuda",
        threads=[1, 2],
        seconds=[4.0],
        precisions=["bf16"],
        train_batch=4,
        train_seconds=4.0,
        compile=True,
        other="theirs.py",
    )
    rows = benchmark.plan_workloads(options, optimizable=True)
    *gpu, load, placed = [(row.task, row.engine, row.device) for row in rows]
    assert gpu == [
        ("enhance", "plain", "cuda"),
        ("enhance", "other", "cuda"),
        ("enhance in chunks", "plain", "cuda"),
        ("enhance a folder", "plain", "cuda"),
        ("train", "plain", "cuda"),
        ("train", "compiled", "cuda"),
        ("train", "other", "cuda"),
    ]
    assert [row.batch for row in rows][:4] == [1, 1, 1, 500]
    assert load == ("load", "1 worker", "cpu")
    assert placed == ("load", "corpus on device", "cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_that_is_not_there_is_said(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPE.parent))
    benchmark = importlib.import_module("benchmark")
    with pytest.raises(UserError, match="no GPU here for --device cuda"):
        benchmark.main(["--device", "cuda"])


@pytest.mark.parametrize(
    "words",
    ["--threads 0", "--seconds 4 -1", "--seconds nan", "--train_batch -2"],
)
def test_numbers_that_cannot_be_are_refused_at_once(words, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(RECIPE.parent))
    main = importlib.import_module("benchmark").main
    with pytest.raises(SystemExit):
        main(words.split())
    error = capsys.readouterr().err.splitlines()[-1]
    assert words.split()[0] in error
    assert "must be a number of at least" in error
