"""Processes a long signal in chunks that overlap and are cross-faded.

Only the current chunks are in memory, one for each thread. Chunks start at
whole seconds: at every sample rate that is a whole number of samples, so
resampling a chunk gives the samples that resampling the whole signal would
give.
"""

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import torch

from phasen_sb.inference.chunk_plan import ChunkPlan
from phasen_sb.utils.torch_threads import thread_pool

Read = Callable[[int], np.ndarray]
Process = Callable[[np.ndarray, int], np.ndarray]


def process_in_chunks(
    read: Read,
    samples: int,
    rate: int,
    process: Process,
    plan: ChunkPlan,
    at_a_time: int = 1,
    divides_threads: bool = True,
) -> Iterator[np.ndarray]:
    """Processes a signal that is read from front to back.

    ``read(n)`` returns the next ``[n, channels]``; ``process`` maps such a
    chunk, and the index of its first sample, to a result of the same shape;
    ``rate`` is in Hz. So many chunks are processed at a time, by threads that
    share the number of threads of PyTorch, unless ``divides_threads`` is false
    because others compute. Yields consecutive parts of the result, ``samples``
    long in all. Where overlapping chunks agree, the result is exactly theirs.
    """
    half = round(plan.fade * rate / 2)
    ranges = list(plan.ranges(samples, rate))
    results = _process(read, ranges, process, at_a_time, divides_threads)
    tail = None
    for number, ((start, _), result) in enumerate(
        zip(ranges, results, strict=True)
    ):
        begin = number * plan.step * rate
        if tail is not None:
            begin -= half
            fade = _fade_in(len(tail))[:, None]
            faded = result[begin - start : begin - start + len(tail)]
            # In this form equal tails come out unchanged to the last bit.
            yield tail + fade * (faded - tail)
            begin += len(tail)
        if number + 1 == len(ranges):
            yield result[begin - start :]
            continue
        end = (number + 1) * plan.step * rate - half
        yield result[begin - start : end - start]
        tail = result[end - start : end - start + 2 * half]


def _process(read, ranges, process, at_a_time, divides_threads):
    """Yields the results of all chunks in order.

    If they divide threads, those that are left over are processed one after the
    other, with all threads.
    """
    chunks = _read_chunks(read, ranges)
    together, threads = len(ranges), 1
    if divides_threads:
        together -= together % at_a_time
        threads = max(1, torch.get_num_threads() // at_a_time)
    at_a_time = min(at_a_time, together)
    if at_a_time <= 1:
        yield from (process(*chunk) for chunk in chunks)
        return
    waiting = deque()
    with thread_pool(at_a_time, threads) as pool:
        for number in range(len(ranges)):
            while number + len(waiting) < together and len(waiting) < at_a_time:
                waiting.append(pool.submit(process, *next(chunks)))
            if waiting:
                yield waiting.popleft().result()
            else:
                yield process(*next(chunks))


def _read_chunks(read, ranges):
    """Yields chunks and their first samples."""
    buffer, offset = None, 0
    for start, stop in ranges:
        have = 0 if buffer is None else offset + len(buffer)
        new = read(stop - have)
        if buffer is None:
            buffer = new
        else:
            buffer = np.concatenate([buffer[start - offset :], new])
            offset = start
        yield buffer, start


def _fade_in(length):
    phase = (np.arange(length) + 0.5) / max(length, 1)
    return 0.5 - 0.5 * np.cos(np.pi * phase)
