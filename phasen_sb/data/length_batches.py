"""Batches of utterances of similar length, for evaluation."""

from collections.abc import Sequence


def length_batches(lengths: Sequence[float], limit: float) -> list[list[int]]:
    """Groups utterances into batches with little padding.

    Arguments
    ---------
    lengths : sequence of float
        Length of each utterance.
    limit : float
        Longest batch, padding included, in the unit of ``lengths``. A longer
        utterance is a batch by itself.

    Returns
    -------
    list of list of int
        Indices, as a ``batch_sampler`` of a DataLoader; the longest utterances
        come first, so that a lack of memory shows at once.

    Example
    -------
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
