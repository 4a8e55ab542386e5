"""Work on many files at once."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from speechbrain.utils.parallel import get_available_cpu_count, parallel_map


def process_files(
    function: Callable,
    items: Sequence,
    jobs: int | None = None,
    description: str | None = None,
) -> Iterable:
    """Applies a function to many files in parallel, with a progress bar.

    Threads do the work: decoding, hashing and convolution release the GIL, so
    that processes would gain little, and threads need no fork of a process in
    which torch or CUDA is already running. There are ``jobs`` threads, by
    default one for each available CPU. ``description`` labels the progress
    bar. The results are in the order of the items.
    """
    jobs = get_available_cpu_count() if jobs is None else max(1, int(jobs))
    threads = torch.get_num_threads()
    # One thread of torch each, so that they do not compete for CPUs.
    pool = ThreadPoolExecutor(
        jobs, initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        return list(
            parallel_map(
                function,
                items,
                executor=pool,
                progress_bar_kwargs={
                    "desc": description,
                    "unit": "file",
                    "leave": False,
                    "disable": None if len(items) > 1 else True,
                },
            )
        )
    finally:
        pool.shutdown(cancel_futures=True)
        # Threads that torch starts later would inherit the workers' number.
        torch.set_num_threads(threads)
