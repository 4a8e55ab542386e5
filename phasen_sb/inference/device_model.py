"""A model on one device, called with one waveform or with several."""

from collections import deque
from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import nn

from phasen_sb.inference.norm_statistics import Moments, NormStatistics
from phasen_sb.models.enhancer import PhasenEnhancer
from phasen_sb.network.phasen import PHASEN
from phasen_sb.signals.windows import move_windows


class Changes(NamedTuple):
    """What a model adds to each waveform, ``[B, samples]``, in main memory."""

    waves: torch.Tensor
    copied: torch.cuda.Event | None  #: after which they are there

    def read(self, row: int, samples: int) -> torch.Tensor:
        """Waits for the device; returns the first samples of a waveform."""
        if self.copied is not None:
            self.copied.synchronize()
        return self.waves[row, :samples]


class DeviceModel:
    """A model on one device.

    Several waveforms are enhanced at once if they are padded to one length;
    padding does not matter. Nothing synchronises with a GPU, but for the
    measurement of norms: results are copied while it goes on.

    Arguments
    ---------
    model : torch.nn.Module
        Maps ``[B, samples]`` to a tuple that begins with the enhanced
        waveforms. It is not changed.
    device : str
        Such as ``cpu`` or ``cuda:1``.
    precision : str
        ``fp32`` or ``bf16``.
    copies : bool
        False: the model itself is used, on its device, and takes one waveform
        at a time.

    Example
    -------
    >>> from phasen_sb import ConvISTFT, ConvSTFT
    >>> network = PHASEN(recurrent_units=8, phase_norm="frame")
    >>> model = PhasenEnhancer(ConvSTFT(16000), ConvISTFT(16000), network)
    >>> device_model = DeviceModel(model, "cpu", "fp32")
    >>> waves = [torch.randn(3000), torch.randn(2000)]
    >>> device_model.enhance_batch(waves, 3200).read(1, 2000).shape
    torch.Size([2000])
    """

    def __init__(
        self, model: nn.Module, device: str, precision: str, copies: bool = True
    ):
        self.device = torch.device(device)
        self.precision = precision
        self._is_cuda = self.device.type == "cuda"
        #: Whether it takes several waveforms, whose lengths differ. Subclasses
        #: may compute something else.
        self.takes_batches = (
            copies
            and type(model) is PhasenEnhancer
            and type(model.network) is PHASEN
        )
        if copies:
            model = deepcopy(model).eval()
        if self.takes_batches:
            model.network.amplitude_head.avoid_packing()
        if copies:
            move_windows(model.to(self.device), self.device)
        self._model = model
        self._norms = NormStatistics(model)
        # Ends of batches that the device may still be computing.
        self._ends = deque()

    @property
    def has_global_norms(self) -> bool:
        """Whether norms may use the statistics of a whole recording."""
        return bool(self._norms)

    def enhance(
        self, wave: torch.Tensor, moments: dict[str, Moments]
    ) -> torch.Tensor:
        """Computes what the model adds to a waveform.

        Arguments
        ---------
        wave : torch.Tensor
            ``[samples]``, in main memory.
        moments : dict
            What the norms of its recording use; see
            :class:`phasen_sb.inference.norm_statistics.NormStatistics`.

        Returns
        -------
        torch.Tensor
            ``[samples]``
        """
        samples = len(wave)
        return self.enhance_batch([wave], samples, [moments]).read(0, samples)

    @torch.inference_mode()
    def enhance_batch(
        self,
        waves: Sequence[torch.Tensor],
        samples: int,
        moments: Sequence[dict[str, Moments]] = (),
    ) -> Changes:
        """Starts to enhance waveforms, and returns before a GPU is done.

        Arguments
        ---------
        waves : sequence of torch.Tensor
            Waveforms ``[n]`` in main memory.
        samples : int
            The length to which they are padded.
        moments : sequence of dict, optional
            Of each waveform, as of :meth:`enhance`, all empty or none.

        Returns
        -------
        Changes

        Raises
        ------
        torch.OutOfMemoryError
            If the device has not enough memory.
        """
        x = torch.zeros(len(waves), samples, pin_memory=self._is_cuda)
        for row, wave in zip(x, waves, strict=True):
            row[: len(wave)] = wave
        lengths = None
        if self.takes_batches:
            lengths = torch.tensor([len(wave) / samples for wave in waves])
            if self._is_cuda:
                lengths = lengths.pin_memory()
            lengths = lengths.to(self.device, non_blocking=True)
        x = x.to(self.device, non_blocking=True)
        with self._norms.use(moments):
            changes = self.compute(x, lengths)
        if not self._is_cuda:
            return Changes(changes.cpu(), None)
        changes = changes.to("cpu", non_blocking=True)
        copied = torch.cuda.Event(blocking=True)  # waiting threads sleep
        copied.record(torch.cuda.current_stream(self.device))
        self._ends.append(copied)
        return Changes(changes, copied)

    @torch.inference_mode()
    def measure_norms(
        self, wave: torch.Tensor, moments: dict[str, Moments]
    ) -> None:
        """Adds the moments of the norms' inputs for a waveform ``[n]``."""
        with self._norms.measure(moments):
            self.compute(wave[None].to(self.device))

    def compute(
        self, x: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What the model adds to ``[B, samples]`` of relative lengths ``[B]``.

        All are on the device.
        """
        precision = torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bf16"
        )
        with precision:
            given = (x,) if lengths is None else (x, lengths)
            # Relative to the model's own input, in its precision: exactly
            # zero where it changes nothing.
            return self._model(*given)[0] - x

    def wait(self) -> None:
        """Waits until the device computes no more than one batch."""
        while len(self._ends) > 1:
            self._ends.popleft().synchronize()
