"""Quick imports at the start of a process."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Imports PyTorch without a search for garbage among its objects.

    What an import makes stays until the process ends. Python's collector looks
    at all of it again and again, and once more at the end: a third of the
    time. Does nothing once PyTorch is loaded.

    Example
    -------
    >>> with importing():
    ...     import torch
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
