"""The pool survives everything a set of files can do to it."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.processes import heed_ctrl_c

from phasen_sb.errors import UserError
from phasen_sb.metrics import MetricPool, pesq, si_sdr, stoi

RATE = 16000


def speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that is modulated like syllables; PESQ finds utterances in it."""
    time_axis = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(size=time_axis.size)
    return 0.1 * noise * np.maximum(np.sin(2 * np.pi * 3 * time_axis), 0.05)


def process_is_alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and ") Z " not in state.read_text()


def test_scores_equal_those_of_the_functions():
    clean = speech_like(1.5)
    estimate = clean + 0.01 * speech_like(1.5, seed=1)
    tensors = torch.tensor(clean), torch.tensor(estimate)
    with MetricPool(jobs=2) as pool:
        pool.submit("arrays", clean, estimate)
        pool.submit("tensors", *tensors)
        clean_before = clean.copy()
        report = pool.collect()
    np.testing.assert_array_equal(clean, clean_before)
    expected = {
        "pesq_wb": pesq(clean, estimate),
        "stoi": stoi(clean, estimate),
        "si_sdr": si_sdr(clean, estimate),
    }
    assert report.scores["arrays"] == expected
    assert report.scores["tensors"] == pytest.approx(expected, abs=1e-4)
    assert report.failures == []


def test_submitted_signals_may_be_overwritten_at_once():
    clean = speech_like(1.0)
    estimate = torch.tensor(clean) + 0.1
    expected = si_sdr(clean, clean + 0.1)
    with MetricPool(["si_sdr"], jobs=1) as pool:
        pool.submit("a", clean, estimate)
        clean[:] = 1
        estimate.zero_()
        assert pool.collect().mean()["si_sdr"] == pytest.approx(
            expected, abs=1e-3
        )


def test_failures_are_counted_and_never_averaged():
    clean = speech_like(1.0)
    estimate = clean + 0.05 * speech_like(1.0, seed=1)
    broken = estimate.copy()
    broken[100] = np.nan
    with MetricPool(jobs=1) as pool:
        pool.submit("good", clean, estimate)
        pool.submit("silent", clean, np.zeros_like(clean))
        pool.submit("nan", clean, broken)
        pool.submit("short", clean[:1600], estimate[:1600])
        pool.submit("lengths", clean, estimate[:-7])
        pool.submit("equal", clean, clean)
        report = pool.collect()
    assert report.failure_counts() == {
        "si_sdr": {
            "silent": 1,
            "NaN or infinite samples": 1,
            "different lengths": 1,
            "no finite score": 1,
        },
        "stoi": {
            "silent": 1,
            "NaN or infinite samples": 1,
            "too short": 1,
            "different lengths": 1,
        },
        "pesq_wb": {
            "silent": 1,
            "NaN or infinite samples": 1,
            "too short": 1,
            "different lengths": 1,
        },
    }
    assert set(report.scores["short"]) == {"si_sdr"}
    details = [f["detail"] for f in report.failures if f["key"] == "lengths"]
    assert details[0] == (
        "the clean signal has 16000 samples, the estimate 15993"
    )
    assert report.mean()["pesq_wb"] == pytest.approx(
        (report.scores["good"]["pesq_wb"] + report.scores["equal"]["pesq_wb"])
        / 2
    )


def test_a_mean_of_nothing_is_none():
    with MetricPool(["stoi"], jobs=1) as pool:
        pool.submit("silent", speech_like(1.0), np.zeros(RATE))
        assert pool.collect().mean() == {"stoi": None}
        assert pool.collect().mean() == {"stoi": None}


def test_a_pair_beyond_the_time_limit_does_not_hold_up_the_others():
    # PESQ needs far longer than the limit for five minutes of speech.
    long, short = speech_like(300), speech_like(1.0)
    with MetricPool(["pesq_wb", "snr"], jobs=1, timeout=1.5) as pool:
        pool.submit("long", long, 0.9 * long)
        pool.submit("short", short, 0.9 * short)
        began = time.monotonic()
        report = pool.collect()
    assert time.monotonic() - began < 30
    assert report.failure_counts() == {"pesq_wb": {"time limit exceeded": 1}}
    assert report.scores["long"] == {"snr": pytest.approx(20)}
    assert set(report.scores["short"]) == {"pesq_wb", "snr"}


def test_a_crashing_process_is_replaced():
    long, short = speech_like(300), speech_like(1.0)
    with MetricPool(["pesq_wb"], jobs=1) as pool:
        pool.submit("first", short, short).result()
        pool.submit("victim", long, long)
        pool.submit("next", short, short)
        worker = pool._workers[0]
        first = worker.process.pid
        time.sleep(1)
        os.kill(first, signal.SIGSEGV)
        report = pool.collect()
        assert worker.process.pid != first
    assert report.failures == [
        {
            "key": "victim",
            "metric": "pesq_wb",
            "reason": "worker died",
            "detail": "SIGSEGV",
        }
    ]
    assert report.scores["next"]["pesq_wb"] == pytest.approx(4.64, abs=0.01)


def test_misuse_is_named():
    with pytest.raises(UserError, match='no metric "pesk_wb"; did you mean'):
        MetricPool(["pesk_wb"])
    with pytest.raises(ValueError, match="at least one job, not 0"):
        MetricPool(jobs=0)
    with MetricPool(["snr"], jobs=1) as pool:
        with pytest.raises(ValueError, match=r"shape \(1, 16000\)"):
            pool.submit("a", np.ones((1, RATE)), np.ones((1, RATE)))
        pool.submit("a", np.ones(RATE), np.ones(RATE))
        with pytest.raises(ValueError, match="already submitted"):
            pool.submit("a", np.ones(RATE), np.ones(RATE))
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit("b", np.ones(RATE), np.ones(RATE))


# No `if __name__ == "__main__"`: whoever imports the script again in a worker
# would run it without end.
SCRIPT = """
import numpy as np
from phasen_sb.metrics import MetricPool

clean = np.random.default_rng(0).normal(size=16000 * 200)
pool = MetricPool(["pesq_wb"], jobs=2, timeout=5)
for key in range(9):
    pool.submit(str(key), clean, clean)
while any(worker.process is None for worker in pool._workers):
    pass
print(*[worker.process.pid for worker in pool._workers], flush=True)
with pool:
    pool.collect()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_no_process_outlives_the_parent(number, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Its own group, to signal all of it as a terminal's Ctrl-C does.
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    time.sleep(1)
    if number == signal.SIGINT:
        os.killpg(parent.pid, number)
    else:
        parent.send_signal(number)
    _, errors = parent.communicate(timeout=20)
    # After SIGTERM nobody tells the processes: they finish their pair and
    # find their input closed, or run into the time limit.
    if number == signal.SIGINT:
        assert errors.count("Traceback") == 1
    deadline = time.monotonic() + 30
    while any(map(process_is_alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
