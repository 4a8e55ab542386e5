"""Memory for whole streams."""

import mmap

import torch

#: From so many bytes on memory is mapped.
LARGE = 4 * 2**20


def allocate(count: int, dtype: torch.dtype) -> torch.Tensor:
    """Allocates ``[count]``, in large pages where Linux has them.

    A large allocation is mapped by itself, so that it goes back to the system
    as soon as it is freed, whatever thread it came from. The system would hand
    out and clear its pages one by one, which takes a twentieth of the time of
    enhancing a short recording.

    Example
    -------
    >>> allocate(5, torch.float32).shape, allocate(LARGE, torch.uint8).shape
    (torch.Size([5]), torch.Size([4194304]))
    """
    size = count * dtype.itemsize
    if size < LARGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(count, dtype=dtype)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # of a kernel without them
        pass
    return torch.frombuffer(memory, dtype=dtype)
