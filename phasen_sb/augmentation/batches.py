"""Augmentation of batches where they are made: by a loader, or on a GPU."""

from collections.abc import Callable

from speechbrain.dataio.batch import PaddedBatch, PaddedData

from phasen_sb.augmentation.remix import Remix
from phasen_sb.utils.seeding import seeded_generator


def add_augmentation(
    collate: Callable,
    augmentation: Callable | None,
    seed: int,
    epoch_counter=None,
) -> Callable:
    """Adds augmentation to a loader's ``collate_fn``.

    Arguments are those of
    :class:`phasen_sb.augmentation.batches.AugmentedBatches`.

    Returns
    -------
    callable
        ``collate`` itself if ``augmentation`` is None, or it augments already.

    Example
    -------
    >>> add_augmentation(PaddedBatch, None, seed=1) is PaddedBatch
    True
    """
    if augmentation is None or isinstance(collate, AugmentedBatches):
        return collate
    return AugmentedBatches(augmentation, seed, epoch_counter, collate)


class AugmentedBatches:
    """Pads utterances to a batch and augments it; a loader's ``collate_fn``.

    In the loader's processes augmentation does not delay the training step; a
    GPU takes batches faster than one process could augment them. Batches that
    are made on a GPU are augmented there, by :class:`phasen_sb.Remix` with
    random numbers of the GPU.

    Arguments
    ---------
    augmentation : callable
        Such as :class:`phasen_sb.Remix`: maps noisy and clean signals ``[B,
        samples]``, a seed and relative lengths to both signals.
    seed : int
        Seed of the training.
    epoch_counter : EpochCounter, optional
        Has the current epoch. Draws depend on it and on the utterances alone,
        so that a resumed training sees the same data as an uninterrupted one.
        Loader processes keep the epoch in which they were started, so
        ``persistent_workers`` must not be set.
    collate : callable
        Makes a batch of examples.

    Example
    -------
    >>> import torch
    >>> from phasen_sb import Remix
    >>> pairs = [
    ...     {"id": name, "noisy_sig": torch.randn(count),
    ...      "clean_sig": torch.randn(count)}
    ...     for name, count in (("a", 8000), ("b", 16000))
    ... ]
    >>> batch = AugmentedBatches(Remix(0, 20), seed=1)(pairs)
    >>> batch.noisy_sig.data.shape, batch.noisy_sig.lengths
    (torch.Size([2, 16000]), tensor([0.5000, 1.0000]))
    """

    def __init__(
        self,
        augmentation: Callable,
        seed: int,
        epoch_counter=None,
        collate: Callable = PaddedBatch,
    ):
        self.augmentation = augmentation
        self.seed = seed
        self.epoch_counter = epoch_counter
        self.collate = collate

    def __call__(self, examples: list | PaddedBatch) -> PaddedBatch:
        """Augments a batch, or examples, of ``id, noisy_sig, clean_sig``."""
        batch = examples
        if not isinstance(examples, PaddedBatch):
            batch = self.collate(examples)
        (noisy, lengths), (clean, _) = batch.noisy_sig, batch.clean_sig
        epoch = getattr(self.epoch_counter, "current", 0)
        # "batch": the crop of an utterance has a generator of its own.
        seed = f"{self.seed} {epoch} batch {' '.join(batch.id)}"
        device = noisy.device
        if device.type != "cpu" and isinstance(self.augmentation, Remix):
            seed = seeded_generator(seed, device)
        noisy, clean = self.augmentation(
            noisy,
            clean,
            seed,
            # Of a few bytes CUDA makes a copy before it goes on.
            lengths.to(device, non_blocking=device.type == "cuda"),
        )
        batch.noisy_sig = PaddedData(noisy, lengths)
        batch.clean_sig = PaddedData(clean, lengths)
        return batch
