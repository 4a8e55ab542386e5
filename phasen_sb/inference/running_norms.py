"""Global layer norms that remember the chunks before.

PHASEN's phase stream is normalised over the whole recording. Chunk by chunk
each would get statistics of its own; here they are those of all chunks so
far, which soon are the recording's.

Authors
 * The phasen_sb authors 2026
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from phasen_sb.layers import GlobalLayerNorm


@dataclass
class Moments:
    """Mean and biased variance of everything that was added.

    Example
    -------
    >>> moments = Moments()
    >>> moments.add(2, mean=1.0, var=1.0)  # of 0 and 2
    >>> moments.add(1, mean=4.0, var=0.0)
    >>> moments
    Moments(count=3, mean=2.0, var=2.66...)
    """

    count: int = 0
    mean: float = 0.0
    var: float = 0.0

    def add(self, count: int, mean: float, var: float) -> None:
        """Adds the moments of other values."""
        total = self.count + count
        share = count / total
        shift = mean - self.mean
        self.var += share * (var - self.var)
        self.var += share * (1 - share) * shift**2
        self.mean += share * shift
        self.count = total


class RunningNorms:
    """Lets a model's global layer norms use the statistics of many calls.

    Arguments
    ---------
    model : torch.nn.Module
        Its :class:`phasen_sb.GlobalLayerNorm` layers get a hook, which does
        nothing outside of :meth:`remember`.

    Example
    -------
    >>> norm = GlobalLayerNorm(1)
    >>> running = RunningNorms(norm)
    >>> moments = {}
    >>> with running.remember(moments), torch.no_grad():
    ...     _ = norm(torch.zeros(1, 1, 1, 2))
    ...     norm(torch.full((1, 1, 1, 2), 2.0)).flatten()
    tensor([1., 1.])
    """

    def __init__(self, model: nn.Module):
        # Several threads may enhance different files with one model.
        self._thread = threading.local()
        for name, module in model.named_modules():
            if isinstance(module, GlobalLayerNorm):
                module.register_forward_hook(self._hook(name))

    @contextmanager
    def remember(self, moments: dict[str, Moments]) -> Iterator[None]:
        """Adds to the statistics, and uses them, within a ``with`` block.

        Arguments
        ---------
        moments : dict
            Of one recording; empty at its start.
        """
        self._thread.moments = moments
        try:
            yield
        finally:
            self._thread.moments = None

    def _hook(self, name):
        def normalise(module, inputs, output):
            recording = getattr(self._thread, "moments", None)
            if recording is None:
                return None
            x = inputs[0].float()
            var, mean = torch.var_mean(x, correction=0)
            known = name in recording
            moments = recording.setdefault(name, Moments())
            moments.add(x.numel(), mean.item(), var.item())
            if not known:
                return None  # The layer's own result is the same.
            spread = moments.var
            if module.unbiased:
                spread *= moments.count / (moments.count - 1)
            scale = module.weight * (spread + module.eps) ** -0.5
            x = (x - moments.mean) * scale[:, None, None]
            return (x + module.bias[:, None, None]).to(output.dtype)

        return normalise
