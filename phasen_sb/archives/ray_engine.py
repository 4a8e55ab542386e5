"""Enhances an archive on a Ray cluster.

Ray starts the workers, on this machine or on many, and notices when one dies.
Each has one file at a time, and the next one only when it is done: so memory
does not grow with the number of files, a dead worker costs one file's work,
and it is known which file it was. (Ray Data hands out blocks of rows; a file
that always kills its worker would be retried for ever there, or take its
block's other rows with it.)
"""

import logging
import os
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from phasen_sb.archives.outcomes import FAILED, Outcome
from phasen_sb.archives.ray_worker import FileWorker
from phasen_sb.errors import UserError
from phasen_sb.inference.output_files import remove_partials

logger = logging.getLogger(__name__)

#: Workers that may die over a file before it counts as failed.
ATTEMPTS = 3
#: Bytes of Ray's shared memory, its least: no audio passes through it.
SHARED_MEMORY = 80 * 2**20
LOCAL = "local"


@dataclass(frozen=True)
class Cluster:
    """What workers can be started on."""

    resources: Mapping[str, float]  #: ``CPU`` and ``GPU``, their number
    elastic: bool  #: whether it may grow


@contextmanager
def connect(address: str | None = None) -> Iterator[Cluster]:
    """Connects to a Ray cluster, or starts one of this machine alone.

    A process that is connected already stays so.

    Arguments
    ---------
    address : str, optional
        ``host:port`` of a cluster that this machine belongs to, ``auto``,
        ``ray://host:port`` of another one, or ``local``. By default what the
        environment variable ``RAY_ADDRESS`` says, else ``local``.

    Yields
    ------
    Cluster

    Raises
    ------
    UserError
        If Ray is not installed, or no cluster answers.
    """
    address = address or os.environ.get("RAY_ADDRESS") or LOCAL
    # Statistics of the use are sent only where the user chose that.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(
            '--engine ray needs Ray; install it with: pip install "phasen_sb'
            '[scale]".'
        ) from error
    _check_answers(address)
    if ray.is_initialized():  # as in a notebook
        yield Cluster(ray.cluster_resources(), elastic=True)
        return
    options: dict[str, Any] = {}
    if address == LOCAL:
        options = {
            "include_dashboard": False,
            "object_store_memory": SHARED_MEMORY,
        }
    try:
        ray.init(address, logging_level="ERROR", log_to_driver=False, **options)
    except (ConnectionError, RuntimeError, ValueError, ImportError) as error:
        raise _no_cluster(address, error) from error
    try:
        yield Cluster(ray.cluster_resources(), address != LOCAL)
    finally:
        ray.shutdown()


def _check_answers(address):
    """Finds out in seconds what Ray would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=20).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, error) from error


def _no_cluster(address, error):
    reason = getattr(error, "strerror", None) or str(error)
    reason = " ".join(reason.split())[:200].rstrip(".")
    return UserError(
        f"No Ray cluster lets us in at {address} ({reason}); check the address "
        "and, if it has one, its token (RAY_AUTH_TOKEN), or leave --address "
        "out to use this machine alone."
    )


def plan_workers(
    cluster: Cluster, workers: int | None, device: str | None
) -> tuple[int, dict[str, float]]:
    """Decides how many workers there are, and what each needs.

    Arguments
    ---------
    cluster : Cluster
        What there is. Workers beyond that wait for an elastic cluster to grow,
        and share the CPUs or GPUs of another one.
    workers : int, optional
        How many the user wants; by default one for each GPU, or, without
        GPUs or with another ``device``, for each CPU.
    device : str, optional
        What the user wants them to compute on.

    Returns
    -------
    int, dict
        The number, and Ray's ``num_cpus`` and ``num_gpus``.

    Raises
    ------
    UserError
        If ``device`` is not there, and cannot come.

    Example
    -------
    >>> plan_workers(Cluster({"CPU": 32, "GPU": 2}, True), None, None)
    (2, {'num_cpus': 1, 'num_gpus': 1})
    >>> plan_workers(Cluster({"CPU": 2}, False), 4, None)
    (4, {'num_cpus': 0.5, 'num_gpus': 0})
    """
    gpus, cpus = (int(cluster.resources.get(key, 0)) for key in ("GPU", "CPU"))
    on_gpu = device.startswith("cuda") if device else gpus > 0
    there = gpus if on_gpu else cpus
    if not there:
        kind = "GPU" if on_gpu else "CPU"
        if not cluster.elastic:
            raise UserError(
                f"--device is {device}, but Ray finds no {kind} on this "
                "machine; leave --device out, or give another one."
            )
        logger.warning(f"The cluster has no {kind}; workers wait for one.")
        there = 1
    workers = workers or there
    share: float = 1
    if workers > there and not cluster.elastic:
        share = 1 / ceil(workers / there)
    return workers, {"num_cpus": share, "num_gpus": share if on_gpu else 0}


def enhance_on_ray(
    pairs: Iterable[tuple[Path, Path]],
    loading: Mapping[str, Any],
    options: Mapping[str, Any],
    workers: int,
    needs: Mapping[str, float],
    measures: bool = False,
) -> Iterator[Outcome]:
    """Enhances files on the cluster that :func:`connect` connected to.

    Every node must see the files under the same paths, and have phasen_sb
    installed. A file whose worker died, in the middle or before it could say
    that it was done, goes to another worker, up to :data:`ATTEMPTS` times;
    outputs get their names when they are complete.

    Arguments
    ---------
    pairs : iterable
        Inputs and outputs.
    loading : mapping
        Arguments of :meth:`phasen_sb.Enhancer.from_pretrained`.
    options : mapping
        Those of :meth:`phasen_sb.Enhancer.enhance_file`.
    workers, needs : int, mapping
        From :func:`plan_workers`.
    measures : bool
        Whether the outcomes have measures of the input files.

    Yields
    ------
    Outcome
        One for each pair, in the order in which they are done.

    Raises
    ------
    UserError
        If the model cannot be loaded, or no worker survives that.
    """
    device = loading.get("device") or ("cuda" if needs["num_gpus"] else "cpu")
    if device.startswith("cuda"):
        device = "cuda"  # of those that Ray lets a worker see
    source = loading.get("source")
    if source is not None and os.path.exists(source):
        source = os.path.abspath(source)
    loading = {**loading, "source": source, "device": device}
    with closing(_Workers(needs, loading, dict(options), measures)) as pool:
        for _ in range(workers):
            pool.start_one()
        yield from pool.enhance(iter(pairs))


class _Workers:
    """Workers that load the model, and then take one file after another."""

    def __init__(self, needs, *arguments):
        # Here, because it loads slowly and need not be installed.
        import ray

        self._ray = ray
        self._class = ray.remote(**needs)(FileWorker)
        self._arguments = arguments
        #: What each worker is at, by what will come back: a pair, or None
        #: while it loads the model.
        self._running = {}
        #: Pairs over which a worker died, and how many did.
        self._again = []
        self._deaths = Counter()

    def start_one(self):
        worker = self._class.remote(*self._arguments)
        self._running[worker.load.remote()] = worker, None

    def enhance(self, waiting):
        all_given = False
        while not all_given or self._again or self._is_enhancing():
            [result], _ = self._ray.wait(list(self._running), num_returns=1)
            worker, pair = self._running.pop(result)
            try:
                answer = self._ray.get(result)
            except self._ray.exceptions.RayError as error:
                # If it is only out of reach, it must not go on writing.
                self._ray.kill(worker)
                if pair is None:
                    self._check_left(error)
                else:
                    self.start_one()
                    yield from self._give_again(pair)
                continue
            if pair is not None:
                # Under the names that the user gave, not the worker's.
                yield replace(answer, source=pair[0], target=pair[1])
            elif answer is not None:
                raise UserError(answer)
            pair = self._again.pop() if self._again else next(waiting, None)
            if pair is None:
                all_given = True
                self._ray.kill(worker)
            else:
                # Workers may be in another folder.
                paths = map(os.path.abspath, pair)
                result = worker.enhance.remote(*paths, pair in self._deaths)
                self._running[result] = worker, pair

    def _is_enhancing(self):
        return any(pair for _, pair in self._running.values())

    def _give_again(self, pair):
        source, target = pair
        self._deaths[pair] += 1
        if self._deaths[pair] < ATTEMPTS:
            self._again.append(pair)
            logger.warning(f"A worker died over {source}, which is repeated.")
            return
        remove_partials(target)
        yield Outcome(
            source,
            target,
            FAILED,
            f"{source} cannot be enhanced: {ATTEMPTS} workers died over it, "
            "perhaps for want of memory; try it alone, with a smaller --chunk.",
        )

    def _check_left(self, error):
        if not self._running:
            raise UserError(
                "No worker is left: the last one died while it loaded the "
                f"model ({type(error).__name__}); give them more memory, or "
                "start fewer with --jobs."
            ) from error

    def close(self):
        """Ends the workers; what they had begun is removed."""
        for worker, pair in self._running.values():
            self._ray.kill(worker)
            if pair is not None:
                remove_partials(pair[1])
