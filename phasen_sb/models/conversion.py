"""Makes an exportable model of weights from the public reference code."""

import os

from phasen_sb.models.description import tagged
from phasen_sb.models.reference import read_reference_checkpoint
from phasen_sb.models.stored import TrainedModel


def convert_reference(
    checkpoint: str | os.PathLike,
    hop: int | None = None,
    sample_rate: int = 16000,
) -> TrainedModel:
    """Reads a reference checkpoint, with the YAML that builds its network.

    Arguments
    ---------
    checkpoint : path
        See :func:`phasen_sb.load_reference_checkpoint`.
    hop : int, optional
        Hop of the STFT (samples).
    sample_rate : int
        Sample rate it was trained at (Hz).

    Returns
    -------
    TrainedModel

    Raises
    ------
    UserError
        If it is no checkpoint of the reference.
    """
    model = read_reference_checkpoint(checkpoint, hop, sample_rate)
    description = tagged(
        "!new:phasen_sb.PhasenEnhancer",
        stft=tagged("!new:phasen_sb.ConvSTFT", **model.front_end),
        istft=tagged(
            "!new:phasen_sb.ConvISTFT",
            **model.front_end,
            synthesis=model.synthesis,
        ),
        network=tagged("!new:phasen_sb.PHASEN", **model.network),
        normalize=False,
    )
    return TrainedModel(
        description, sample_rate, model.build().state_dict(), model.source
    )
