"""Threads that compute parts of a recording, each by itself.

PyTorch's own threads divide each layer, thousands of times a second, and wait
for each other each time. Where other work takes a core from one of them, all
wait. Here each thread computes its part of the recording through many layers,
with no parallel region inside, and threads that wait sleep.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import wait
from contextlib import ExitStack
from typing import Any

import torch

from phasen_sb.utils.torch_threads import kept_threads, set_own_threads


class Workers:
    """As many threads as PyTorch would use, the calling one among them.

    Inside of ``with``, PyTorch itself uses one thread.

    Arguments
    ---------
    most : int
        There is work for so many threads at most.

    Example
    -------
    >>> with Workers(most=2) as workers:
    ...     workers.map(abs, [-1, 2, -3])
    [1, 2, 3]
    """

    def __init__(self, most: int):
        self.before = torch.get_num_threads()
        self.count = max(1, min(self.before, most))
        self.failed = False  # whether a call in a thread of ours has
        self._pool = None

    def __enter__(self):
        with ExitStack() as stack:
            if self.before > 1:
                stack.callback(set_own_threads, self.before)
                set_own_threads(1)
            if self.count > 1:
                # As many for all recordings, however short, so that one set
                # of threads is kept, not one for each number of them.
                self._pool = stack.enter_context(kept_threads(self.before - 1))
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *error):
        self._exit.__exit__(*error)

    def map(self, function: Callable, items: Iterable) -> list[Any]:
        """Calls a function with each item; returns the results in order."""
        first, *others = items
        if self._pool is None:
            return [function(item) for item in (first, *others)]
        inference = torch.is_inference_mode_enabled()

        def call(item):
            # Each thread has a mode of its own.
            with torch.inference_mode(inference), torch.no_grad():
                try:
                    return function(item)
                except BaseException:
                    self.failed = True  # others may wait for it
                    raise

        futures = []
        try:
            for item in others:
                futures.append(self._pool.submit(call, item))
            results = [function(first)]
            return results + [future.result() for future in futures]
        except BaseException:
            self.failed = True
            raise
        finally:
            wait(futures)
