"""PESQ and STOI, with the causes of their failures told apart."""

import warnings

from phasen_sb.errors import UserError
from phasen_sb.metrics.checks import NO_SPEECH, TOO_SHORT, MetricError, as_pair


def pesq(clean, estimate, sample_rate: int = 16000, mode: str = "wb") -> float:
    """Perceptual evaluation of speech quality, as MOS-LQO.

    ITU-T P.862.2 (wide band) or P.862.1 (narrow band), computed by the
    package ``pesq``. The two are different scales: do not compare them.

    Arguments
    ---------
    clean, estimate : array_like
        The reference and the signal to judge, shape [time].
    sample_rate : int
        In Hz: 16000, or 8000 for narrow band.
    mode : str
        "wb" or "nb".

    Returns
    -------
    float
        From about 1.04 to 4.64 (wide band), 1.02 to 4.55 (narrow band).

    Raises
    ------
    UserError
        If the package ``pesq`` is not installed.
    MetricError
        If the signals are silent, without speech, not finite, shorter than
        0.25 s or of different lengths.

    Example
    -------
    >>> import numpy as np
    >>> clean = np.random.default_rng(0).normal(size=16000)
    >>> round(pesq(clean, clean), 2)
    4.64
    """
    try:  # late: the other measures work without the package
        import pesq as itu
    except ImportError as error:
        raise UserError(
            "PESQ needs the package pesq, which is compiled by a C compiler; "
            "install it with: pip install pesq."
        ) from error
    if mode == "wb" and sample_rate != 16000:
        raise ValueError(
            f"Wide-band PESQ is defined at 16000 Hz, not {sample_rate} Hz."
        )
    clean, estimate = as_pair(clean, estimate)
    try:
        return float(itu.pesq(sample_rate, clean, estimate, mode))
    except itu.NoUtterancesError as error:
        raise MetricError(NO_SPEECH, "PESQ found no utterance") from error
    except itu.BufferTooShortError as error:
        raise MetricError(
            TOO_SHORT, f"{clean.size} samples, and PESQ needs 0.25 s"
        ) from error


def stoi(
    clean, estimate, sample_rate: int = 16000, extended: bool = False
) -> float:
    """Short-time objective intelligibility, computed by the package ``pystoi``.

    Taal et al., IEEE TASLP 2011, doi:10.1109/TASL.2011.2114881; extended:
    Jensen and Taal, IEEE/ACM TASLP 2016, doi:10.1109/TASLP.2016.2585878.

    Arguments
    ---------
    clean, estimate : array_like
        The reference and the signal to judge, shape [time].
    sample_rate : int
        In Hz.
    extended : bool
        Whether to compute ESTOI.

    Returns
    -------
    float
        At most 1.

    Raises
    ------
    MetricError
        If the signals are silent, not finite, of different lengths, or have
        less than about 0.4 s of speech.

    Example
    -------
    >>> import numpy as np
    >>> clean = np.random.default_rng(0).normal(size=16000)
    >>> round(stoi(clean, clean), 6)
    1.0
    """
    import pystoi  # slow to import

    clean, estimate = as_pair(clean, estimate)
    # pystoi warns about too little speech and returns 1e-5, which would be
    # averaged as if it were a score.
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi.stoi(clean, estimate, sample_rate, extended))
        except RuntimeWarning as warning:
            raise MetricError(
                TOO_SHORT, "STOI needs 0.4 s of speech without the pauses"
            ) from warning
