"""Reads sound in a thread of its own, so that none is lost to computing."""

import queue
import signal
import threading
from collections.abc import Iterator
from time import monotonic

import numpy as np

from phasen_sb.commands.live_devices import DeviceInput, DeviceLost
from phasen_sb.commands.live_pcm import PcmInput

#: Seconds of blocks that may wait for computing.
MOST_WAITING = 0.2
#: Seconds without a block after which a device is lost.
PATIENCE = 3.0


class BlockReader:
    """Iterates over the blocks of a source, until its end or Ctrl-C.

    A context manager. When blocks come faster than they are taken, those of a
    device are dropped and counted; whoever writes to a pipe waits.

    Arguments
    ---------
    source : DeviceInput or PcmInput
        What to read.
    block : int
        Samples that are read at a time.
    """

    def __init__(self, source: DeviceInput | PcmInput, block: int):
        self._source, self._block = source, block
        self.dropped = 0
        waiting = round(MOST_WAITING * source.rate / block)
        self._queue = queue.Queue(max(2, waiting))
        self._stop, self._has_ended = threading.Event(), threading.Event()
        self._error: Exception | None = None
        # A daemon: nothing ends its waiting for a silent pipe.
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._handler = None

    def __enter__(self) -> "BlockReader":
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._heed_ctrl_c)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        if self._source.is_live:
            # A device must not be closed while it is read.
            self._thread.join(PATIENCE)
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)

    def _heed_ctrl_c(self, *_):
        self._stop.set()
        # A second one does not wait for anything.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yields ``[n]``, float32; raises what reading raised."""
        newest = monotonic()
        while True:
            no_more_come = self._has_ended.is_set() or self._stop.is_set()
            try:
                yield self._queue.get(timeout=0.05)
                newest = monotonic()
            except queue.Empty:
                if no_more_come:
                    break
                if self._source.is_live and monotonic() - newest > PATIENCE:
                    raise DeviceLost(self._source) from None
        if self._error is not None:
            raise self._error

    def _read(self):
        try:
            while not self._stop.is_set():
                samples = self._source.read(self._block)
                if samples is None:
                    break
                self._put(samples)
        except Exception as error:  # raised by whoever takes the blocks
            self._error = error
        finally:
            self._has_ended.set()

    def _put(self, samples):
        while not self._stop.is_set():
            try:
                return self._queue.put(
                    samples, timeout=0 if self._source.is_live else 0.05
                )
            except queue.Full:
                if self._source.is_live:
                    self.dropped += 1
                    return None
