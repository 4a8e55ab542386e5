"""The composite measures CSIG, CBAK and COVL, in the two families in use.

They predict the ratings of signal distortion, background intrusiveness and
overall quality, each from 1 to 5, from PESQ, LLR, WSS and segmental SNR; Hu and
Loizou, "Evaluation of objective quality measures for speech enhancement",
IEEE TASLP 2008, doi:10.1109/TASL.2007.911054. The weights were fitted with
narrow-band PESQ; the literature of 16 kHz speech puts wide-band PESQ in.

Two families of programs print different numbers under the same names:

* "raw", the default and the one behind most published VoiceBank-DEMAND
  tables: the estimate is judged as it is, and the spectra for WSS are
  computed of samples in [-1, 1] divided by 32768, which lifts the floor under
  quiet bands;
* "rescaled": the mean is removed of both signals and the estimate gets the
  peak of the reference before segmental SNR, and WSS is computed of samples
  in [-1, 1].
"""

from typing import NamedTuple

from phasen_sb.metrics.distortion import segmental_snr
from phasen_sb.metrics.perceptual import pesq
from phasen_sb.metrics.spectral import SIXTEEN_BIT, llr, wss


class Family(NamedTuple):
    """How a family of programs treats the signals before comparing them.

    Arguments
    ---------
    rescale : bool
        Whether segmental SNR removes means and matches peaks.
    amplitude : float
        What WSS multiplies the signals by.
    """

    rescale: bool
    amplitude: float


FAMILIES = {
    "raw": Family(rescale=False, amplitude=SIXTEEN_BIT),
    "rescaled": Family(rescale=True, amplitude=1.0),
}


class Composite(NamedTuple):
    """The three predicted ratings, each in [1, 5].

    Arguments
    ---------
    csig : float
        Signal distortion (5 is none).
    cbak : float
        Intrusiveness of the background (5 is none).
    covl : float
        Overall quality.
    """

    csig: float
    cbak: float
    covl: float


def combine(pesq_wb: float, llr: float, wss: float, ssnr: float) -> Composite:
    """The three ratings from the four measures they are made of.

    Arguments
    ---------
    pesq_wb : float
        Wide-band PESQ.
    llr : float
        Log-likelihood ratio.
    wss : float
        Weighted spectral slope distance.
    ssnr : float
        Segmental SNR in dB.

    Returns
    -------
    Composite
        CSIG, CBAK and COVL, each limited to [1, 5].

    Example
    -------
    >>> combine(pesq_wb=4.64, llr=0, wss=0, ssnr=35)
    Composite(csig=5.0, cbak=5.0, covl=5.0)
    """
    ratings = (
        3.093 - 1.029 * llr + 0.603 * pesq_wb - 0.009 * wss,
        1.634 + 0.478 * pesq_wb - 0.007 * wss + 0.063 * ssnr,
        1.594 + 0.805 * pesq_wb - 0.512 * llr - 0.007 * wss,
    )
    return Composite(*(min(max(rating, 1.0), 5.0) for rating in ratings))


def composite(
    clean, estimate, sample_rate: int = 16000, family: str = "raw"
) -> Composite:
    """CSIG, CBAK and COVL of an estimate.

    Arguments
    ---------
    clean : array_like
        The reference, shape [time], in [-1, 1].
    estimate : array_like
        The signal to judge, same shape.
    sample_rate : int
        In Hz; must be 16000, for wide-band PESQ.
    family : str
        "raw" or "rescaled", see above.

    Returns
    -------
    Composite
        CSIG, CBAK and COVL.

    Raises
    ------
    MetricError
        If one of the four measures has no value for these signals.

    Example
    -------
    >>> import numpy as np
    >>> clean = np.random.default_rng(0).uniform(-1, 1, 16000)
    >>> composite(clean, clean)
    Composite(csig=5.0, cbak=5.0, covl=5.0)
    """
    rescale, amplitude = FAMILIES[family]
    return combine(
        pesq(clean, estimate, sample_rate),
        llr(clean, estimate, sample_rate),
        wss(clean, estimate, sample_rate, amplitude),
        segmental_snr(clean, estimate, sample_rate, rescale),
    )
