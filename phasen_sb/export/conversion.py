"""Makes an exportable model of weights from the public reference code.

Authors
 * The phasen_sb authors 2026
"""

import os

from phasen_sb.export.description import tagged
from phasen_sb.export.runs import TrainedModel
from phasen_sb.reference import _read, _sizes, load_reference_checkpoint


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
    enhancer = load_reference_checkpoint(checkpoint, hop, sample_rate)
    _, state = _read(checkpoint)
    options, _ = _sizes(
        {name.removeprefix("module."): value for name, value in state.items()}
    )
    front_end = {
        "sample_rate": sample_rate,
        "win_length": 1000 * enhancer.stft.win_length / sample_rate,
        "hop_length": 1000 * enhancer.stft.hop_length / sample_rate,
        "n_fft": enhancer.stft.n_fft,
        "center": False,
    }
    for key in ("phase_stem_kernels", "phase_kernels"):
        options[key] = [list(kernel) for kernel in options[key]]
    description = tagged(
        "!new:phasen_sb.PhasenEnhancer",
        stft=tagged("!new:phasen_sb.ConvSTFT", **front_end),
        istft=tagged(
            "!new:phasen_sb.ConvISTFT",
            **front_end,
            synthesis="pseudo_inverse",
        ),
        network=tagged("!new:phasen_sb.PHASEN", **options),
        normalize=False,
    )
    return TrainedModel(
        description, sample_rate, enhancer.state_dict(), str(checkpoint)
    )
