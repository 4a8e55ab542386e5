"""A pool of processes that computes measures while other work goes on.

The usual pools do not fit here. They import the main script again in every
process, which for a training script means torch and SpeechBrain (seconds and
half a gigabyte each), or fork a process that runs torch's threads, which may
deadlock; and most cannot end a task that hangs in C code, as PESQ can.
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future

import numpy as np

from phasen_sb.metrics import checks
from phasen_sb.metrics.metric_report import MetricReport
from phasen_sb.metrics.registry import resolve

# The child looks for modules where its parent did, which also holds when the
# package is not installed.
_LAUNCH = (
    "import sys; "
    "sys.path[:] = {path!r}; "
    "from phasen_sb.metrics.worker import main; "
    "main({metrics!r}, {sample_rate!r}, {timeout!r})"
)


class _Worker:
    """One process, started when first needed and again after it died."""

    def __init__(self, metrics: tuple[str, ...], sample_rate: int, timeout):
        self.metrics = metrics
        self.timeout = timeout
        self.command = _LAUNCH.format(
            path=sys.path,
            metrics=list(metrics),
            sample_rate=sample_rate,
            timeout=timeout,
        )
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        # One worker keeps one core busy; more threads would fight over them.
        threads = ("OMP", "OPENBLAS", "MKL", "NUMBA")
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C is for the parent alone: the child may be hit while Python
            # itself is starting, and would print a traceback.
            start_new_session=True,
            env=os.environ | {f"{name}_NUM_THREADS": "1" for name in threads},
        )
        try:
            pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise RuntimeError(
                "A process for metrics did not start (exit status "
                f"{self.process.wait()}); its message is above."
            ) from error

    def measure(self, clean, estimate) -> dict:
        """Scores by name; a pair of reason and detail where one failed."""
        if self.process is None or self.process.poll() is not None:
            self.close()
            self.start()
        results = {}
        began = time.monotonic()
        try:
            pickle.dump((clean, estimate), self.process.stdin)
            self.process.stdin.flush()
            while (answer := pickle.load(self.process.stdout)) is not None:
                name, result = answer
                results[name] = result
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            failure = self._cause_of_death(time.monotonic() - began)
            results |= dict.fromkeys(
                [name for name in self.metrics if name not in results], failure
            )
        return results

    def _cause_of_death(self, seconds: float) -> tuple[str, str]:
        status = self.process.wait()
        if status == 1 and seconds >= self.timeout:
            return checks.TIME_LIMIT, f"not done after {self.timeout:g} s"
        if status < 0:
            return checks.WORKER_DIED, signal.Signals(-status).name
        return checks.WORKER_DIED, f"exit status {status}"

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def close(self) -> None:
        if self.process is not None:
            # Also closes the pipes, which a write to a dead process left full.
            self.process.kill()
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()
            self.process = None


class MetricPool:
    """Computes measures of many utterances in parallel processes.

    Every pair of signals has a time limit: a process that hangs or crashes is
    replaced, and its missing scores are reported as failures. The processes
    import neither the main script nor torch, and end with their parent, however
    that ends.

    Arguments
    ---------
    metrics : iterable of str
        Names of measures, see :data:`phasen_sb.metrics.registry.METRICS`.
    sample_rate : int
        Of all signals, in Hz.
    jobs : int, optional
        Number of processes; by default one for each available CPU.
    timeout : float
        Seconds that all measures of one pair of signals may take together.
    backlog : int, optional
        How many pairs may wait before :meth:`submit` blocks; unlimited by
        default, so that it never does.

    Raises
    ------
    UserError
        If a name is unknown or a needed package is missing.

    Example
    -------
    >>> clean = np.random.default_rng(0).normal(size=16000)
    >>> with MetricPool(["stoi", "si_sdr"], jobs=1) as pool:
    ...     future = pool.submit("good", clean, clean + 0.1 * clean[::-1])
    ...     future = pool.submit("bad", clean, 0 * clean)
    ...     report = pool.collect()
    >>> round(report.mean()["si_sdr"])
    20
    >>> report.failure_counts()
    {'si_sdr': {'silent': 1}, 'stoi': {'silent': 1}}
    """

    def __init__(
        self,
        metrics: Iterable[str] = ("pesq_wb", "stoi", "si_sdr"),
        sample_rate: int = 16000,
        jobs: int | None = None,
        timeout: float = 60.0,
        backlog: int | None = None,
    ):
        if timeout <= 0:
            raise ValueError(f"The time limit must be positive, not {timeout}.")
        self.metrics = resolve(metrics)
        self.sample_rate = sample_rate
        self.timeout = timeout
        if jobs is None:
            # It respects the limits of containers, which os.cpu_count does not.
            from joblib import cpu_count

            jobs = cpu_count()
        if jobs < 1:
            raise ValueError(f"A pool needs at least one job, not {jobs}.")
        self.jobs = jobs
        self._slots = threading.Semaphore(backlog) if backlog else None
        self._tasks: queue.SimpleQueue = queue.SimpleQueue()
        self._futures: dict[str, Future] = {}
        self._workers: list[_Worker] = []
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, key: str, clean, estimate) -> Future:
        """Queues one pair of signals and returns at once.

        Arguments
        ---------
        key : str
            Name of the utterance, unique until the next :meth:`collect`.
        clean : np.ndarray or torch.Tensor
            The reference, shape [time]; copied.
        estimate : np.ndarray or torch.Tensor
            The signal to judge; copied.

        Returns
        -------
        concurrent.futures.Future
            Done when the pair is scored; it need not be kept.
        """
        if self._closed:
            raise RuntimeError("The pool is closed.")
        if key in self._futures:
            raise ValueError(f'The key "{key}" was already submitted.')
        task = (_to_array(clean), _to_array(estimate))
        future: Future = Future()
        if self._slots:
            self._slots.acquire()
            future.add_done_callback(lambda _: self._slots.release())
        self._futures[key] = future
        self._tasks.put((future, *task))
        if len(self._threads) < min(self.jobs, len(self._futures)):
            self._add_worker()
        return future

    def collect(self) -> MetricReport:
        """Waits for all pairs submitted since the last call.

        Returns
        -------
        MetricReport
            Their scores and failures, in the order of submission.

        Raises
        ------
        RuntimeError
            If processes cannot be started at all.
        """
        report = MetricReport(self.metrics)
        futures, self._futures = self._futures, {}
        for key, future in futures.items():
            results = future.result()
            report.scores[key] = {}
            for metric in self.metrics:
                result = results[metric]
                if isinstance(result, float):
                    report.scores[key][metric] = result
                    continue
                reason, detail = result
                report.failures.append(
                    {
                        "key": key,
                        "metric": metric,
                        "reason": reason,
                        "detail": detail,
                    }
                )
        return report

    def close(self) -> None:
        """Ends all processes at once; what was not collected is lost."""
        self._closed = True
        while True:
            try:
                self._tasks.get_nowait()[0].cancel()
            except queue.Empty:
                break
        for _ in self._threads:
            self._tasks.put(None)
        for thread, worker in zip(self._threads, self._workers, strict=True):
            while thread.is_alive():
                # Repeatedly, since it may just be starting a process.
                worker.kill()
                thread.join(0.1)

    def __enter__(self) -> "MetricPool":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _add_worker(self) -> None:
        worker = _Worker(self.metrics, self.sample_rate, self.timeout)
        # A daemon, so that a script that forgot to close the pool still ends.
        thread = threading.Thread(
            target=self._serve, args=(worker,), daemon=True
        )
        self._workers.append(worker)
        self._threads.append(thread)
        thread.start()

    def _serve(self, worker: _Worker) -> None:
        while (task := self._tasks.get()) is not None:
            future, *signals = task
            try:
                future.set_result(worker.measure(*signals))
            except Exception as error:
                future.set_exception(error)
        worker.close()


def _to_array(signal) -> np.ndarray:
    """Copies a signal, so that the caller may go on using its memory."""
    if hasattr(signal, "detach"):
        # A tensor, without importing torch to find out.
        signal = signal.detach().cpu().float().numpy()
    array = np.array(signal)
    if array.ndim != 1:
        raise ValueError(
            f"A signal has shape {array.shape}; the pool takes one channel of "
            "shape [time]."
        )
    return array
