"""What a process does with memory that it has freed."""

import ctypes
import os

#: Options of GNU's malloc.h. The first value stands for the largest threshold;
#: the second is the largest one that is accepted, in bytes.
M_TRIM_THRESHOLD, NEVER = -1, -1
M_MMAP_THRESHOLD, LARGEST = -3, 2**25


def keep_freed_memory() -> bool:
    """Lets the process keep the memory that it frees, to use it again.

    By default GNU's allocator returns large blocks to the system, which clears
    them when they are asked for again. A training step on a CPU allocates the
    same sizes every time: with the blocks that it had, of up to 32 MB, it is
    5 to 10 % faster. It keeps some more memory, which blocks of other sizes
    cannot use.

    Returns
    -------
    bool
        Whether it does: not if the allocator is not GNU's, or the environment
        sets it up (``MALLOC_*_``).

    Example
    -------
    >>> keep_freed_memory() in (True, False)
    True
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not Linux, or musl
        return False
    return all(
        [mallopt(M_TRIM_THRESHOLD, NEVER), mallopt(M_MMAP_THRESHOLD, LARGEST)]
    )
