"""The 30 ms frames that segmental SNR, LLR and WSS share."""

import numpy as np

from phasen_sb.metrics.checks import TOO_SHORT, MetricError

FRAME_SECONDS = 0.030
HOPS_PER_FRAME = 4


def windowed_frames(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Cuts a signal into Hann-windowed frames of 30 ms every 7.5 ms.

    Shape ``[time]`` to ``[frames, samples per frame]``. Raises MetricError if
    the signal is too short for one frame.

    The window leaves out its two zeros, and the last complete frame is not
    used: both follow the programs that accompany Loizou, "Speech Enhancement:
    Theory and Practice", which published numbers rest on.
    """
    length = round(FRAME_SECONDS * sample_rate)
    hop = length // HOPS_PER_FRAME
    frames = (signal.size - length) // hop
    if frames < 1:
        raise MetricError(
            TOO_SHORT,
            f"{signal.size} samples at {sample_rate} Hz, and one frame needs "
            f"{length + hop}",
        )
    window = np.hanning(length + 2)[1:-1]
    views = np.lib.stride_tricks.sliding_window_view(signal, length)
    return views[: frames * hop : hop] * window
