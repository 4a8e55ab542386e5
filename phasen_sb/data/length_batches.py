"""Batches of utterances of similar length, for evaluation."""

from collections.abc import Sequence


def length_batches(lengths: Sequence[float], limit: float) -> list[list[int]]:
    """Groups utterances into batches with little padding.

    ``limit`` is the longest batch, padding included, in the unit of
    ``lengths``; a longer utterance is a batch by itself. The indices are
    returned as a ``batch_sampler`` of a DataLoader takes them; the longest
    utterances come first, so that a lack of memory shows at once.

    >>> length_batches([2.0, 9.0, 3.0, 30.0, 8.0], 20.0)
    [[3], [1, 4], [2, 0]]
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batches, batch = [], []
    for index in order:
        if batch and (len(batch) + 1) * lengths[batch[0]] > limit:
            batches.append(batch)
            batch = []
        batch.append(index)
    return [*batches, batch] if batch else batches
