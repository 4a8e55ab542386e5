"""PyTorch's number of threads, set for one thread alone.

``torch.set_num_threads`` sets it for the thread that calls it, and for those
that are started later: of a server, say, that enhances in several threads.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

_lock = threading.Lock()
# Threads that nobody uses at the moment, by their number.
_kept: dict[int, list[ThreadPoolExecutor]] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.clear)  # it has one thread


def set_own_threads(count: int) -> None:
    """Sets PyTorch's number of threads for the calling thread alone.

    Example
    -------
    >>> from threading import Thread
    >>> before = torch.get_num_threads()
    >>> worker = Thread(target=set_own_threads, args=(before + 1,))
    >>> worker.start(), worker.join()
    (None, None)
    >>> with ThreadPoolExecutor(1) as later:
    ...     later.submit(torch.get_num_threads).result() == before
    True
    """
    with _kept_default():
        _set_threads(count)


def _set_threads(count):
    torch.get_num_threads()  # else the default would be set when first asked
    torch.set_num_threads(count)


@contextmanager
def _kept_default():
    """Restores the number that threads get which are started later."""
    with _lock, ThreadPoolExecutor(1) as other:
        default = other.submit(torch.get_num_threads).result()
        try:
            yield
        finally:
            other.submit(torch.set_num_threads, default).result()


@contextmanager
def thread_pool(workers: int, threads: int) -> Iterator[ThreadPoolExecutor]:
    """Starts threads, in each of which PyTorch uses so many threads.

    At the end, also after an error, what has not begun is cancelled.

    Arguments
    ---------
    workers : int
        The number of threads.
    threads : int
        How many threads PyTorch uses in each.

    Yields
    ------
    concurrent.futures.ThreadPoolExecutor

    Example
    -------
    >>> with thread_pool(2, threads=1) as pool:
    ...     list(pool.map(lambda _: torch.get_num_threads(), range(2)))
    [1, 1]
    """
    pool = _start(workers, threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def kept_threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Lends threads, in each of which PyTorch uses one, and keeps them.

    They sleep until the next caller: what has just been started may share a
    core with the thread that started it for some milliseconds. All that was
    submitted must be done at the end.

    Arguments
    ---------
    workers : int
        The number of threads.

    Yields
    ------
    concurrent.futures.ThreadPoolExecutor

    Example
    -------
    >>> for _ in range(2):
    ...     with kept_threads(1) as pool:
    ...         name = pool.submit(threading.current_thread).result().name
    >>> with kept_threads(1) as pool:
    ...     pool.submit(threading.current_thread).result().name == name
    True
    """
    try:
        pool = _kept.setdefault(workers, []).pop()
    except IndexError:
        pool = _start(workers, 1)
    try:
        yield pool
    finally:
        _kept.setdefault(workers, []).append(pool)


def _start(workers, threads):
    pool = ThreadPoolExecutor(
        workers, initializer=_set_threads, initargs=(threads,)
    )
    started = threading.Barrier(workers)
    try:
        with _kept_default():
            list(pool.map(lambda _: started.wait(), range(workers)))
    except BaseException:
        started.abort()  # if not all could be started, the others wait
        pool.shutdown(cancel_futures=True)
        raise
    return pool
