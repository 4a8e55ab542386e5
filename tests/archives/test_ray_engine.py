"""`phasen enhance --engine ray` on a cluster of this machine, and its workers'
death."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers.small_model import names, write_noise, write_small_model

from phasen_sb.archives import ray_engine
from phasen_sb.archives.outcomes import Outcome
from phasen_sb.archives.progress import FileProgress
from phasen_sb.archives.ray_worker import FileWorker
from phasen_sb.cli import main
from phasen_sb.errors import UserError
from phasen_sb.inference.enhancer import Enhancer

pytest.importorskip("ray", reason="the extra scale is not installed")
parquet = pytest.importorskip("pyarrow.parquet")
if not Path("/proc/self/fd").exists():
    pytest.skip("finds processes in /proc", allow_module_level=True)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return write_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def cluster():
    with ray_engine.connect("local") as found:
        yield found


class Killer(threading.Thread):
    """Kills the processes that write these files, each so many times."""

    def __init__(self, times):
        super().__init__(daemon=True)
        self.times, self.killed = times, []
        self.stop = threading.Event()

    def run(self):
        while not self.stop.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/fd/*"):
                try:
                    name = os.readlink(path)
                except OSError:
                    continue
                process = int(path.parts[2])
                for target, times in self.times.items():
                    done = [file for file, _ in self.killed].count(target)
                    fresh = (target, process) not in self.killed
                    if name == target and done < times and fresh:
                        os.kill(process, signal.SIGKILL)
                        self.killed.append((target, process))


def test_killed_workers_cost_no_file_but_the_one_that_kills_them(
    cluster, model_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(ray_engine, "ATTEMPTS", 2)
    monkeypatch.chdir(tmp_path)
    noisy, out = Path("noisy"), tmp_path / "out"
    (noisy / "deep").mkdir(parents=True)
    for number in range(4):
        write_noise(noisy / f"{number}.wav", 4000 + number)
    long = {"once": 40, "deep/always": 41}
    for name, seconds in long.items():
        write_noise(noisy / f"{name}.wav", 16000 * seconds)
    (noisy / "bad.wav").write_text("no sound")
    report = tmp_path / "report.parquet"
    command = ["enhance", noisy, "-o", out, "--model", model_folder]
    command += ["--engine", "ray", "--jobs", "2", "--precision", "fp32"]
    killer = Killer(
        {f"{out}/.once.wav.part": 1, f"{out}/deep/.always.wav.part": 9}
    )
    killer.start()
    assert main([*map(str, command), "--report", str(report)]) == 1
    killer.stop.set()
    assert sorted(Path(file).name for file, _ in killer.killed) == [
        ".always.wav.part",
        ".always.wav.part",
        ".once.wav.part",
    ]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Ray: 2 workers, 1 CPU each."
    assert any(line.startswith("7/7 files, 0.0 h, real-t") for line in lines)
    assert lines[-3] == "2 of 7 files failed:"
    assert "2 workers died over it" in "".join(lines[-2:])
    whole = ["0.wav", "1.wav", "2.wav", "3.wav", "once.wav"]
    assert names(out) == sorted([*whole, "deep"])
    assert names(out / "deep") == []
    enhancer = Enhancer.from_pretrained(model_folder, "cpu", "fp32")
    for name in whole:
        alone = enhancer.enhance_file(noisy / name, tmp_path / "alone.wav")
        assert alone.target.read_bytes() == (out / name).read_bytes(), name
        alone.target.unlink()
    rows = parquet.read_table(report).to_pylist()
    rows = {row["file"].removeprefix("noisy/"): row for row in rows}
    assert len(rows) == 7
    states = {name: row["status"] for name, row in rows.items()}
    assert states == dict.fromkeys(whole, "enhanced") | {
        "deep/always.wav": "failed",
        "bad.wav": "failed",
    }
    assert rows["once.wav"]["seconds"] == 40
    assert "cannot be decoded" in rows["bad.wav"]["reason"]


def test_a_model_that_is_not_there_ends_the_job(cluster, tmp_path, capsys):
    write_noise(tmp_path / "a.wav", 400)
    command = ["enhance", tmp_path / "a.wav", "--engine", "ray", "--jobs", "1"]
    assert main([*map(str, command), "--model", f"{tmp_path}/modle"]) == 1
    assert "There is no folder" in capsys.readouterr().err
    assert names(tmp_path) == ["a.wav"]


def test_a_worker_that_died_after_its_work_is_believed(model_folder, tmp_path):
    source = write_noise(tmp_path / "a.wav", 4000)
    target = tmp_path / "out.wav"
    options = {"residual": True}
    worker = FileWorker(
        {"source": model_folder, "device": "cpu"}, options, True
    )
    assert worker.load() is None
    first = worker.enhance(source, target)
    assert first.status == "enhanced" and first.seconds == 0.25
    kept = worker.enhance(source, target, again=True)
    assert kept.status == "kept" and kept.measures["seconds"] == 0.25
    # It died between the output and the residual.
    (tmp_path / "out.residual.wav").unlink()
    assert worker.enhance(source, target, again=True).status == "enhanced"
    assert names(tmp_path) == ["a.wav", "out.residual.wav", "out.wav"]
    # What is older than the input is not ours.
    sf.write(target, np.zeros(5), 16000)
    os.utime(target, (0, 0))
    failed = worker.enhance(source, target, again=True)
    assert failed.status == "failed" and "--overwrite" in failed.reason


def test_workers_do_not_wait_for_a_gpu_that_cannot_come(caplog):
    grows, machine = (
        ray_engine.Cluster({"CPU": 2}, elastic) for elastic in (True, False)
    )
    plan = ray_engine.plan_workers(grows, None, "cuda:0")
    assert plan == (1, {"num_cpus": 1, "num_gpus": 1})
    assert "has no GPU; workers wait" in caplog.text
    with pytest.raises(UserError, match="Ray finds no GPU on this machine"):
        ray_engine.plan_workers(machine, None, "cuda:0")


def test_a_wrong_address_gets_a_sentence_in_seconds(tmp_path, capsys):
    write_noise(tmp_path / "a.wav", 400)
    command = ["enhance", f"{tmp_path}/a.wav", "--engine", "ray"]
    assert main([*command, "--address", "127.0.0.1:1"]) == 1
    message = capsys.readouterr().err
    assert "lets us in at 127.0.0.1:1 (Connection refused); " in message
    assert main([*command[:2], "--address", "127.0.0.1:1"]) == 1
    assert "add --engine ray" in capsys.readouterr().err


def test_progress_says_what_remains(capsys):
    with FileProgress(4) as progress:
        progress._bar.start_t -= 10
        progress._started = time.perf_counter() - 10
        progress.add(Outcome("a", "b", "enhanced", seconds=1000.0))
        progress.add(Outcome("a", "b", "failed", "a is bad."))
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == [
        "a is bad.",
        "2/4 files, 0.3 h, real-time factor 0.010, 1 failed [00:10<00:10]",
    ]
    assert progress.reasons == ["a is bad."]
