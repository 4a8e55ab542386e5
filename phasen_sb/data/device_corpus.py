"""Decoded audio in the memory of a device, from which batches are cut."""

from collections.abc import Mapping, Sequence

import numpy as np
import soundfile as sf
import torch
from speechbrain.utils.logger import get_logger

from phasen_sb.data.mixing import changed_file_error
from phasen_sb.utils.files import native_path
from phasen_sb.utils.parallel import process_files

logger = get_logger(__name__)

#: Samples that a thread decodes at a time, all that it holds in host memory.
BLOCK = 1 << 18
BYTES_PER_SAMPLE = 2
FULL_SCALE = 2**15


class DeviceCorpus:
    """Recordings, one behind the other, as 16-bit samples in one tensor.

    Arguments
    ---------
    samples : torch.Tensor
        int16 ``[total]``, on the device.
    lengths : sequence of int
        Of the recordings (samples); they add up to ``total``.
    full_scales : sequence of float, optional
        What 32768 stands for in each recording; 1.0 by default.

    Example
    -------
    >>> corpus = DeviceCorpus.join(
    ...     [torch.tensor([1, 2, 3]).short(), torch.tensor([4, 5]).short()]
    ... )
    >>> parts = corpus.cut(torch.tensor([0, 1]), torch.tensor([1, 0]), 3)
    >>> 32768 * parts  # from the end to the start
    tensor([[2., 3., 1.],
            [4., 5., 4.]])
    """

    def __init__(
        self,
        samples: torch.Tensor,
        lengths: Sequence[int],
        full_scales: Sequence[float] | None = None,
    ):
        self.samples = samples
        self.host_lengths = list(lengths)
        counts = torch.tensor(self.host_lengths, dtype=torch.long)
        scales = torch.ones(len(counts))
        if full_scales is not None:
            scales = torch.tensor(full_scales)
        self.lengths = counts.to(samples.device)
        self.offsets = (counts.cumsum(0) - counts).to(samples.device)
        self.gains = (scales / FULL_SCALE).to(samples.device)

    @classmethod
    def join(
        cls,
        recordings: Sequence[torch.Tensor],
        device: torch.device | str = "cpu",
    ) -> "DeviceCorpus":
        """Takes decoded recordings, each int16 ``[samples]``."""
        lengths = [len(recording) for recording in recordings]
        samples = torch.empty(sum(lengths), dtype=torch.int16, device=device)
        parts = samples.split(lengths)
        for part, recording in zip(parts, recordings, strict=True):
            part.copy_(recording)
        return cls(samples, lengths)

    @classmethod
    def decode(
        cls,
        files: Mapping[str, int],
        device: torch.device | str = "cpu",
        jobs: int | None = None,
    ) -> "DeviceCorpus":
        """Decodes files into the device's memory, block by block.

        Samples of more than 16 bits are rounded; files that exceed full scale
        keep their peaks, with coarser steps. The log says so.

        Arguments
        ---------
        files : mapping of str to int
            Paths of mono files that libsndfile reads, with their lengths
            (samples).
        device : torch.device
            Where the samples are to be.
        jobs : int, optional
            Threads; by default one for each CPU.

        Returns
        -------
        DeviceCorpus
            Its recordings are in the order of the files.

        Raises
        ------
        UserError
            If a file is shorter than its length says.
        """
        lengths = list(files.values())
        samples = torch.empty(sum(lengths), dtype=torch.int16, device=device)
        facts = process_files(
            lambda item: _decode(*item),
            list(zip(files, samples.split(lengths), strict=True)),
            jobs,
            "Decoding audio",
        )
        full_scales, rounded = zip(*facts, strict=True)
        loud = sum(scale > 1 for scale in full_scales)
        if any(rounded):
            logger.info(
                "%d of %d files have more than 16 bits and were rounded to "
                "16; %d of them exceed full scale and keep their peaks.",
                sum(rounded),
                len(files),
                loud,
            )
        return cls(samples, lengths, full_scales)

    def cut(
        self, indices: torch.Tensor, starts: torch.Tensor, count: int
    ) -> torch.Tensor:
        """Cuts a part out of each of some recordings.

        Nothing is read from the device.

        Arguments
        ---------
        indices : torch.Tensor
            Of the recordings, int64 ``[B]``, on the device.
        starts : torch.Tensor
            First samples, int64 ``[B]``, on the device.
        count : int
            Length of the parts (samples); a recording that ends before starts
            again.

        Returns
        -------
        torch.Tensor
            float32 ``[B, count]``
        """
        positions = torch.arange(count, device=starts.device)
        positions = positions + starts.unsqueeze(1)
        positions %= self.lengths[indices].unsqueeze(1)
        positions += self.offsets[indices].unsqueeze(1)
        return self.samples[positions] * self.gains[indices].unsqueeze(1)


def _decode(path: str, target: torch.Tensor) -> tuple[float, bool]:
    """Fills ``target``; returns the full scale and whether it was rounded."""
    full_scale = 1.0
    while True:
        peak, rounded = _decode_at(path, target, full_scale)
        if peak <= full_scale:
            return full_scale, rounded
        full_scale = peak * FULL_SCALE / (FULL_SCALE - 1)


def _decode_at(path, target, full_scale):
    buffer = np.empty(min(BLOCK, len(target)), dtype="float32")
    peak, rounded, done = 0.0, False, 0
    with sf.SoundFile(native_path(path)) as file:
        while done < len(target):
            count = min(BLOCK, len(target) - done)
            read = torch.from_numpy(file.read(out=buffer[:count]))
            if len(read) < count:
                raise changed_file_error(path, 0, len(target))
            peak = max(peak, float(read.abs().max()))
            exact = read.mul_(FULL_SCALE / full_scale)
            samples = exact.round().clamp_(-FULL_SCALE, FULL_SCALE - 1)
            rounded |= not torch.equal(samples, exact)
            target[done : done + count].copy_(samples.short())
            done += count
    return peak, rounded
