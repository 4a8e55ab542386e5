"""Chunks that threads process come out as if one after the other."""

import threading

import numpy as np
import pytest
import torch

from phasen_sb.inference.chunk_plan import ChunkPlan
from phasen_sb.inference.chunks import process_in_chunks

RATE = 100


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def run(samples, at_a_time, process):
    signal = np.arange(samples, dtype=float)[:, None]
    position = 0

    def read(count):
        nonlocal position
        position += count
        return signal[position - count : position]

    parts = process_in_chunks(
        read, samples, RATE, process, ChunkPlan(2, 1), at_a_time
    )
    return np.concatenate(list(parts))


@pytest.mark.parametrize("samples", [50, 500, 900, 1100, 2345])
def test_order_and_values_do_not_depend_on_threads(samples, four_threads):
    def process(chunk, start):
        return chunk + np.sin(start)  # differs where chunks overlap

    alone = run(samples, 1, process)
    assert len(alone) == samples
    assert np.array_equal(run(samples, 2, process), alone)


def test_so_many_at_a_time_which_share_the_threads(four_threads):
    together, inside = threading.Barrier(2, timeout=60), []

    def process(chunk, start):
        inside.append(torch.get_num_threads())
        if torch.get_num_threads() == 2:  # not the chunk that is left over
            together.wait()  # fails unless two are processed at once
        return chunk

    samples = 1000  # five chunks
    assert len(list(ChunkPlan(2, 1).ranges(samples, RATE))) == 5
    assert len(run(samples, 2, process)) == samples
    assert sorted(inside) == [2, 2, 2, 2, 4]
    assert torch.get_num_threads() == 4


def test_an_error_in_a_chunk_is_raised(four_threads):
    def process(chunk, start):
        if start:
            raise ValueError("of a later chunk")
        return chunk

    with pytest.raises(ValueError, match="later"):
        run(900, 2, process)
    assert torch.get_num_threads() == 4
