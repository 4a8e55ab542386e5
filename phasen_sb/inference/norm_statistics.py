"""Global layer norms that use the statistics of a recording, not of a chunk.

PHASEN's phase stream may be normalised over the whole recording. Chunk by
chunk, a quiet passage would get statistics of its own and sound different from
the same passage in a recording enhanced as a whole. Here the statistics are
measured once, on excerpts from all over the recording, and then used for every
chunk.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from phasen_sb.network.layer_norms import GlobalLayerNorm
from phasen_sb.optimized.norms import GlobalMoments
from phasen_sb.signals.padding import clear_padded_frames


@dataclass
class Moments:
    """Running mean and biased variance of all values that were added.

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


class NormStatistics:
    """Makes a model's global layer norms use the statistics of other calls.

    The model's :class:`phasen_sb.GlobalLayerNorm` layers, or what replaces them
    after :func:`phasen_sb.optimize`, get a hook, which does nothing outside of
    :meth:`measure` and :meth:`use`.

    Example
    -------
    >>> norm = GlobalLayerNorm(1)
    >>> statistics = NormStatistics(norm)
    >>> moments = {}
    >>> with statistics.measure(moments), torch.no_grad():
    ...     _ = norm(torch.tensor([0.0, 2.0]).view(1, 1, 1, 2))
    >>> with statistics.use([moments]), torch.no_grad():
    ...     norm(torch.full((1, 1, 1, 2), 3.0)).flatten()
    tensor([2., 2.])
    """

    def __init__(self, model: nn.Module):
        # Several threads may enhance different files with one model.
        self._thread = threading.local()
        self._layers = 0
        for name, module in model.named_modules():
            if isinstance(module, GlobalLayerNorm):
                module.register_forward_hook(self._hook(name))
                self._layers += 1
            elif isinstance(module, GlobalMoments):
                module.register_forward_hook(self._moments_hook(name))
                self._layers += 1

    def __bool__(self):
        return self._layers > 0

    @contextmanager
    def measure(self, moments: dict[str, Moments]) -> Iterator[None]:
        """Adds the statistics of each call and normalises by those so far.

        ``moments`` are those of one recording, empty at its start; calls have
        one waveform.
        """
        with self._with([moments], measuring=True):
            yield

    @contextmanager
    def use(self, moments: Sequence[dict[str, Moments]]) -> Iterator[None]:
        """Normalises by measured moments, or by each call's own if empty.

        There is one dict for each waveform of a batch; all are empty, or none.
        """
        with self._with(moments, measuring=False):
            yield

    @contextmanager
    def _with(self, moments, measuring):
        self._thread.moments = moments
        self._thread.measuring = measuring
        try:
            yield
        finally:
            self._thread.moments = None

    def _hook(self, name):
        def normalise(module, inputs, output):
            x = inputs[0].float()

            def measured():
                var, mean = torch.var_mean(x, correction=0)
                return x.numel(), mean.item(), var.item()

            moments = self._moments(name, measured)
            if moments is None:
                return None
            valid = inputs[1] if len(inputs) > 1 else None
            out = clear_padded_frames(_normalise(module, x, moments), valid)
            return out.to(output.dtype)

        return normalise

    def _moments_hook(self, name):
        def replace(module, inputs, output):
            moments = self._moments(name, lambda: output)
            if moments is None:
                return None
            (moments,) = moments  # waveforms are enhanced one by one
            return moments.count, moments.mean, moments.var

        return replace

    def _moments(self, name, measured):
        """The recordings' moments at a norm; None: a call's own are used."""
        recordings = getattr(self._thread, "moments", None)
        if not recordings:
            return None
        if self._thread.measuring:
            recordings[0].setdefault(name, Moments()).add(*measured())
        if name not in recordings[0]:
            return None
        return [recording[name] for recording in recordings]


def _normalise(module, x, moments):
    factors = []
    for one in moments:
        spread = one.var
        if module.unbiased:
            spread *= one.count / (one.count - 1)
        factors.append((spread + module.eps) ** -0.5)
    mean, factor = (
        torch.tensor(values, dtype=x.dtype)
        .to(x.device, non_blocking=True)
        .view(-1, 1, 1, 1)
        for values in ([one.mean for one in moments], factors)
    )
    x = (x - mean) * (factor * module.weight[:, None, None])
    return x + module.bias[:, None, None]
