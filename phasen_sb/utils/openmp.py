"""How the threads of OpenMP wait for each other."""

from collections.abc import Mapping

#: Each of them decides it; the last two are those of GCC and of LLVM.
CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def passive_waiting(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns what an environment needs so that waiting threads soon sleep.

    By default a thread that has finished its part of a parallel region spins
    until the others have: on a busy machine it keeps the core from the very
    thread it waits for. Waking up takes longer than the shortest regions,
    though, so GCC's OpenMP is to spin for some microseconds first. It reads the
    environment when PyTorch is loaded.

    Arguments
    ---------
    environment : mapping
        Such as ``os.environ``.

    Returns
    -------
    dict
        Empty if the user has chosen already.

    Example
    -------
    >>> passive_waiting({})
    {'OMP_WAIT_POLICY': 'PASSIVE', 'GOMP_SPINCOUNT': '1000'}
    >>> passive_waiting({"GOMP_SPINCOUNT": "1000"})
    {}
    """
    if any(name in environment for name in CHOICES):
        return {}
    return {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
