"""Training batches that are cropped and mixed where the corpus is: on a GPU.

What :mod:`phasen_sb.data.mixing` does for an utterance in a loader's process,
for a batch at a time and with the device's random numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from speechbrain.dataio.batch import PaddedData
from speechbrain.utils.data_utils import recursive_to
from torch.utils.data import Dataset

from phasen_sb.augmentation.drawing import draw_index, draw_uniform
from phasen_sb.data.device_corpus import DeviceCorpus
from phasen_sb.data.mixing import mix_at_snr


@dataclass
class DeviceBatch:
    """Noisy and clean speech on the device, used like a ``PaddedBatch``."""

    id: list[str]  #: of the utterances
    noisy_sig: PaddedData  #: ``[B, samples]`` on the device, lengths on the CPU
    clean_sig: PaddedData  #: likewise

    def __len__(self) -> int:
        return len(self.id)

    def to(self, *args, **kwargs) -> "DeviceBatch":
        """Moves data and lengths in place, as ``torch.Tensor.to`` does."""
        self.noisy_sig = recursive_to(self.noisy_sig, *args, **kwargs)
        self.clean_sig = recursive_to(self.clean_sig, *args, **kwargs)
        return self


@dataclass
class Noises:
    """Noises of a corpus that are mixed with speech."""

    indices: Sequence[int]  #: of the recordings
    snr_low: float  #: of the mixtures (dB)
    snr_high: float
    #: Share of the pairs that get one of them instead of their own noise;
    #: pairs without noise always do.
    share: float = 1.0


class DeviceBatches(Dataset):
    """A dataset of numbers, and a ``collate_fn`` that makes batches of them.

    A loader of SpeechBrain's decides which utterances form a batch, shares
    them among the processes of a distributed run, and starts a resumed epoch
    where it was stopped. It needs no processes. Nothing is read from the
    device.

    Batches of crops all have one shape: shorter utterances are padded, and an
    epoch's last batch is filled up with random utterances.

    Arguments
    ---------
    corpus : DeviceCorpus
        All recordings.
    ids : sequence of str
        Of the utterances.
    clean : sequence of int
        The recording of each utterance's clean speech.
    draw : callable
        Makes a :class:`torch.Generator` of a text and a device, such as
        :class:`phasen_sb.data.datasets.RandomDraw`.
    noisy : sequence of int, optional
        The recording of each utterance's noisy speech, of equal length; that
        of the clean speech where there is no noise.
    noises : Noises, optional
        What is mixed with the speech.
    crop : int, optional
        Length of the crops (samples); whole utterances without it.
    batch_size : int, optional
        That a smaller batch of crops is filled up to.

    Example
    -------
    >>> from phasen_sb.data.datasets import RandomDraw
    >>> corpus = DeviceCorpus.join([torch.ones(9).short()] * 3)
    >>> batches = DeviceBatches(
    ...     corpus, ["a", "b"], [0, 1], RandomDraw(seed=1),
    ...     noises=Noises([2], 0, 10), crop=5, batch_size=4,
    ... )
    >>> batch = batches.collate([1])
    >>> len(batch), batch.id[0], batch.noisy_sig.data.shape
    (4, 'b', torch.Size([4, 5]))
    """

    def __init__(
        self,
        corpus: DeviceCorpus,
        ids: Sequence[str],
        clean: Sequence[int],
        draw: Callable,
        noisy: Sequence[int] | None = None,
        noises: Noises | None = None,
        crop: int | None = None,
        batch_size: int | None = None,
    ):
        self.corpus = corpus
        self.device = corpus.samples.device
        self.ids = list(ids)
        self.draw = draw
        self.clean = torch.tensor(clean, device=self.device)
        self.noisy = None
        if noisy is not None:
            self.noisy = torch.tensor(noisy, device=self.device)
        self.noises = noises
        if noises is not None:
            self.noise = torch.tensor(noises.indices, device=self.device)
        self.host_lengths = [corpus.host_lengths[index] for index in clean]
        self.crop = crop and min(crop, max(self.host_lengths))
        self.batch_size = batch_size if crop else None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> int:
        return index

    def collate(self, indices: list[int]) -> DeviceBatch:
        """Makes the batch of some utterances; draws depend on their ids."""
        seed = f"device {' '.join(self.ids[index] for index in indices)}"
        missing = (self.batch_size or 0) - len(indices)
        if missing > 0:
            more = torch.randint(
                len(self), (missing,), generator=self.draw(f"{seed} last")
            )
            indices = indices + more.tolist()
        lengths = [self.host_lengths[index] for index in indices]
        count = self.crop or max(lengths)
        relative = torch.tensor(lengths).clamp(max=count) / count
        noisy, clean = self.cut(
            # Of a few bytes CUDA makes a copy before it goes on.
            torch.tensor(indices).to(
                self.device, non_blocking=self.device.type == "cuda"
            ),
            count,
            self.draw(seed, self.device),
        )
        return DeviceBatch(
            [self.ids[index] for index in indices],
            PaddedData(noisy, relative),
            PaddedData(clean, relative),
        )

    def cut(
        self,
        utterances: torch.Tensor,
        count: int,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cuts and mixes utterances, with random numbers of the generator.

        Arguments
        ---------
        utterances : torch.Tensor
            Their numbers, int64 ``[B]``, on the device.
        count : int
            Length of the batch (samples).
        generator : torch.Generator
            On the device.

        Returns
        -------
        noisy, clean : torch.Tensor
            ``[B, count]``, zero past each utterance's end.
        """
        source = self.clean[utterances]
        available = self.corpus.lengths[source]
        starts = draw_integers((available - count).clamp(min=0) + 1, generator)
        lengths = available.clamp(max=count)
        clean = self._cut(source, starts, lengths, count)
        if self.noisy is None:
            return self._mix(clean, lengths, generator)
        recorded = self.noisy[utterances]
        noisy = self._cut(recorded, starts, lengths, count)
        if self.noises is None:
            return noisy, clean
        draws = draw_uniform((0, 1), generator, len(lengths))
        mixes = (draws < self.noises.share) | (recorded == source)
        mixes = mixes.unsqueeze(1)
        mixed, quieter = self._mix(clean, lengths, generator)
        return mixed.where(mixes, noisy), quieter.where(mixes, clean)

    def _cut(self, recordings, starts, lengths, count):
        signals = self.corpus.cut(recordings, starts, count)
        time = torch.arange(count, device=self.device)
        return signals.masked_fill(time >= lengths.unsqueeze(1), 0.0)

    def _mix(self, clean, lengths, generator):
        numbers = draw_index(len(self.noise), generator, len(lengths))
        chosen = self.noise[numbers]
        available = self.corpus.lengths[chosen]
        # Noise that is too short starts anywhere and is repeated.
        limits = torch.where(
            available < lengths, available, available - lengths + 1
        )
        starts = draw_integers(limits, generator)
        noise = self._cut(chosen, starts, lengths, clean.shape[1])
        snr_range = self.noises.snr_low, self.noises.snr_high
        snr = draw_uniform(snr_range, generator, len(lengths), 1)
        return mix_at_snr(clean, noise, snr)


def draw_integers(
    limits: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Draws numbers from 0 to below each of the limits, int64 ``[B]``.

    Example
    -------
    >>> draw_integers(torch.tensor([1, 1]), torch.Generator())
    tensor([0, 0])
    """
    # So many more numbers than any limit that the remainders are uniform.
    draws = torch.randint(
        2**62, limits.shape, generator=generator, device=limits.device
    )
    return draws % limits
