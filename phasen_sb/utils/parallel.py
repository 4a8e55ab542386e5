"""Work on many files at once."""

from collections.abc import Callable, Iterable, Sequence

from speechbrain.utils.parallel import get_available_cpu_count, parallel_map

from phasen_sb.utils.torch_threads import thread_pool


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
    # So that threads of PyTorch do not compete for CPUs.
    with thread_pool(jobs, threads=1) as pool:
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
