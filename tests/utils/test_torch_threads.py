"""Tests of PyTorch's number of threads, set for one thread alone."""

import os
import threading

import pytest
import torch

from phasen_sb.utils.torch_threads import kept_threads


def test_callers_at_once_have_threads_of_their_own():
    with kept_threads(1) as first, kept_threads(1) as second:
        names = {
            pool.submit(threading.get_ident).result()
            for pool in (first, second)
        }
    assert len(names) == 2


def test_kept_threads_leave_the_number_of_others():
    before = torch.get_num_threads()
    with kept_threads(2) as pool:
        assert pool.submit(torch.get_num_threads).result() == 1
    later = []
    thread = threading.Thread(
        target=lambda: later.append(torch.get_num_threads())
    )
    thread.start()
    thread.join()
    assert later == [before] == [torch.get_num_threads()]


def test_threads_are_kept_after_an_error():
    with pytest.raises(KeyError), kept_threads(3) as pool:
        before = pool.submit(lambda: {}["none"])
        before.result()
    with kept_threads(3) as after:
        assert after is pool


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_starts_its_own_threads():
    with kept_threads(1):
        pass
    child = os.fork()
    if child == 0:
        with kept_threads(1) as pool:
            os._exit(pool.submit(int, 7).result(timeout=20))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
