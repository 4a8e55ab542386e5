"""Augmentation where batches are made: in the data loader's processes.

Authors
 * The phasen_sb authors 2026
"""

from collections.abc import Callable

from speechbrain.dataio.batch import PaddedBatch, PaddedData


class AugmentedBatches:
    """Pads utterances to a batch and augments it; a loader's ``collate_fn``.

    There it costs the training step nothing, on a GPU in particular, which
    takes batches faster than one process could augment them.

    Arguments
    ---------
    augmentation : callable
        Such as :class:`phasen_sb.augmentation.Remix`: from noisy and clean
        signals ``[B, samples]``, a seed and relative lengths to both signals.
    seed : int
        Seed of the training.
    epoch_counter : EpochCounter, optional
        Where the epoch is read: each has other draws. They hang on nothing
        but the epoch and the utterances, so that a resumed training sees what
        an unbroken one sees.

    Example
    -------
    >>> import torch
    >>> from phasen_sb.augmentation import Remix
    >>> pairs = [
    ...     {"id": name, "noisy_sig": torch.randn(count),
    ...      "clean_sig": torch.randn(count)}
    ...     for name, count in (("a", 8000), ("b", 16000))
    ... ]
    >>> batch = AugmentedBatches(Remix(0, 20), seed=1)(pairs)
    >>> batch.noisy_sig.data.shape, batch.noisy_sig.lengths
    (torch.Size([2, 16000]), tensor([0.5000, 1.0000]))
    """

    def __init__(self, augmentation: Callable, seed: int, epoch_counter=None):
        self.augmentation = augmentation
        self.seed = seed
        self.epoch_counter = epoch_counter

    def __call__(self, examples: list[dict]) -> PaddedBatch:
        """Makes a batch of examples with ``id, noisy_sig, clean_sig``."""
        batch = PaddedBatch(examples)
        (noisy, lengths), (clean, _) = batch.noisy_sig, batch.clean_sig
        epoch = getattr(self.epoch_counter, "current", 0)
        noisy, clean = self.augmentation(
            noisy, clean, f"{self.seed} {epoch} {' '.join(batch.id)}", lengths
        )
        batch.noisy_sig = PaddedData(noisy, lengths)
        batch.clean_sig = PaddedData(clean, lengths)
        return batch
