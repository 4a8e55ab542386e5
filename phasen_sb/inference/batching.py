"""Batches of chunks of several recordings, on one device or on several.

Each recording is enhanced by a thread of its own, which reads, resamples and
writes, and waits for its chunks here. While a device computes, what is waiting
gathers; of that the next batch is made.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue

import torch

from phasen_sb.errors import UserError
from phasen_sb.inference.device_model import Changes, DeviceModel
from phasen_sb.inference.norm_statistics import Moments

logger = logging.getLogger(__name__)


def round_length(samples: int) -> int:
    """Rounds a length up by at most an eighth, to one of few.

    Waveforms of different lengths share batches, and a GPU's library need not
    choose its kernels for each of them.

    Example
    -------
    >>> [round_length(samples) for samples in (7, 16, 17, 18, 31, 192000)]
    [7, 16, 18, 18, 32, 196608]
    """
    step = 1 << max(0, samples.bit_length() - 4)
    return -(-samples // step) * step


@dataclass(eq=False)
class _Request:
    """A waveform that waits to be enhanced."""

    wave: torch.Tensor
    samples: int  #: to which it is padded
    moments: dict[str, Moments]
    #: The changes of a batch, and this waveform's row in it.
    outcome: Future[tuple[Changes, int]] = field(default_factory=Future)

    @property
    def kind(self) -> tuple[int, bool]:
        """What the waveforms of a batch have in common."""
        return self.samples, bool(self.moments)


class BatchedModel:
    """Enhances waveforms that several threads ask for, in batches.

    Where memory does not suffice, batches become smaller.

    Arguments
    ---------
    models : sequence of DeviceModel
        The same model on one or several devices, which share the work.
    most_samples : int
        Samples of a batch at most, padding included.

    Example
    -------
    >>> from phasen_sb import PHASEN, ConvISTFT, ConvSTFT, PhasenEnhancer
    >>> network = PHASEN(recurrent_units=8, phase_norm="frame")
    >>> model = PhasenEnhancer(ConvSTFT(16000), ConvISTFT(16000), network)
    >>> models = [DeviceModel(model, "cpu", "fp32") for _ in range(2)]
    >>> batched = BatchedModel(models, most_samples=16000)
    >>> waves = [torch.randn(length) for length in (3000, 2900, 2000)]
    >>> with ThreadPoolExecutor(3) as threads:
    ...     changes = list(threads.map(batched.enhance, waves, [{}] * 3))
    >>> [len(change) for change in changes]
    [3000, 2900, 2000]
    """

    def __init__(self, models: Sequence[DeviceModel], most_samples: int):
        self._models = models
        self._most = dict.fromkeys(models, most_samples)
        self._free: SimpleQueue[DeviceModel] = SimpleQueue()
        for model in models:
            self._free.put(model)
        self._waiting: list[_Request] = []
        self._is_said = False  # that memory is too small
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(len(models))

    @property
    def has_global_norms(self) -> bool:
        """Whether norms may use the statistics of a whole recording."""
        return self._models[0].has_global_norms

    def enhance(
        self, wave: torch.Tensor, moments: dict[str, Moments]
    ) -> torch.Tensor:
        """Computes what the model adds to a waveform, and waits for it.

        Takes and returns what :meth:`DeviceModel.enhance` does. Raises a
        :class:`phasen_sb.errors.UserError` if not even one waveform fits into
        the device's memory.
        """
        samples = len(wave)
        if self._models[0].takes_batches:
            samples = round_length(samples)
        request = _Request(wave, samples, moments)
        with self._lock:
            self._waiting.append(request)
        self._pool.submit(self._enhance_next)  # takes one or more
        changes, row = request.outcome.result()
        return changes.read(row, len(wave))

    def measure_norms(
        self, wave: torch.Tensor, moments: dict[str, Moments]
    ) -> None:
        """Adds the moments of the norms' inputs for a waveform ``[n]``."""

        def measure():
            with self._free_model() as model:
                model.measure_norms(wave, moments)

        self._pool.submit(measure).result()

    @contextmanager
    def _free_model(self):
        model = self._free.get()
        try:
            yield model
        finally:
            self._free.put(model)

    def _enhance_next(self):
        """Enhances a batch, if others have not taken all that waited."""
        with self._free_model() as model:
            failure = None
            try:
                if self._waiting:
                    model.wait()  # meanwhile others may join the batch
            except Exception as error:  # of an earlier batch
                failure = error
            requests = self._take(model)
            if failure is not None:
                _fail(requests, failure)
            elif requests:
                self._enhance_batch(model, requests)

    def _take(self, model):
        """Takes the request that waits longest, and others of its kind.

        Their number is a power of two, so that there are few different shapes.
        """
        with self._lock:
            if not self._waiting:
                return []
            first = self._waiting[0]
            alike = [r for r in self._waiting if r.kind == first.kind]
            most = 1
            if model.takes_batches:
                most = max(1, self._most[model] // first.samples)
            count = 1 << (min(len(alike), most).bit_length() - 1)
            taken = alike[:count]
            self._waiting = [r for r in self._waiting if r not in taken]
        return taken

    def _enhance_batch(self, model, requests):
        samples = requests[0].samples
        while requests:
            most = max(1, self._most[model] // samples)
            part, changes = requests[:most], None
            try:
                changes = model.enhance_batch(
                    [request.wave for request in part],
                    samples,
                    [request.moments for request in part],
                )
            except torch.OutOfMemoryError:
                pass  # its traceback holds tensors until this block ends
            except Exception as error:
                return _fail(requests, error)
            if changes is None and len(part) > 1:
                self._halve(model, len(part), samples)
                continue
            if changes is None:
                _fail(part, _too_long(model, samples))
            else:
                for row, request in enumerate(part):
                    request.outcome.set_result((changes, row))
            requests = requests[len(part) :]

    def _halve(self, model, count, samples):
        """Makes batches smaller that do not fit into memory."""
        self._most[model] = count // 2 * samples
        if not self._is_said:
            self._is_said = True
            logger.warning(
                f"The memory of {model.device} is too small for {count} chunks "
                f"of {samples} samples at once; batches are halved."
            )
        if model.device.type == "cuda":
            torch.cuda.empty_cache()


def _too_long(model, samples):
    return UserError(
        f"The memory of {model.device} is too small for a chunk of {samples} "
        "samples; give a smaller --chunk (chunk_seconds), or another --device."
    )


def _fail(requests, error):
    for request in requests:
        request.outcome.set_exception(error)
