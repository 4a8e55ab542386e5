"""The composite measures CSIG, CBAK and COVL, in the two families in use.

They predict the ratings of signal distortion, background intrusiveness and
overall quality, each from 1 to 5, from PESQ, LLR, WSS and segmental SNR; Hu and
Loizou, "Evaluation of objective quality measures for speech enhancement",
IEEE TASLP 2008, doi:10.1109/TASL.2007.911054. The weights were fitted with
narrow-band PESQ; the literature on 16 kHz speech uses wide-band PESQ instead.

Two families of programs print different numbers under the same names:

* "raw", the default and the one behind most published VoiceBank-DEMAND
  tables: the estimate is judged as it is, and the spectra for WSS are
  computed from samples in [-1, 1] divided by 32768, which lifts the floor
  under quiet bands;
* "rescaled": for segmental SNR the mean of both signals is removed and the
  estimate is scaled to the peak of the reference, and WSS is computed from
  samples in [-1, 1].
"""

from typing import NamedTuple

from phasen_sb.metrics.distortion import segmental_snr
from phasen_sb.metrics.perceptual import pesq
from phasen_sb.metrics.signal_pair import SignalPair
from phasen_sb.metrics.spectral import SIXTEEN_BIT, llr, wss


class Family(NamedTuple):
    """How a family of programs treats the signals before comparing them."""

    rescale: bool  #: whether segmental SNR removes means and matches peaks
    amplitude: float  #: what WSS multiplies the signals by


FAMILIES = {
    "raw": Family(rescale=False, amplitude=SIXTEEN_BIT),
    "rescaled": Family(rescale=True, amplitude=1.0),
}


class Composite(NamedTuple):
    """The three predicted ratings, each in [1, 5]."""

    csig: float  #: signal distortion (5 is none)
    cbak: float  #: intrusiveness of the background (5 is none)
    covl: float  #: overall quality


def rate_pair(pair: SignalPair, family: str) -> Composite:
    """Computes CSIG, CBAK and COVL as :func:`composite` does.

    What the pair has measured before is not computed again.
    """
    rescale, amplitude = FAMILIES[family]
    pesq_wb = pair.measure(pesq)
    ratio = pair.measure(llr)
    slope = pair.measure(wss, amplitude)
    ssnr = pair.measure(segmental_snr, rescale)
    ratings = (
        3.093 - 1.029 * ratio + 0.603 * pesq_wb - 0.009 * slope,
        1.634 + 0.478 * pesq_wb - 0.007 * slope + 0.063 * ssnr,
        1.594 + 0.805 * pesq_wb - 0.512 * ratio - 0.007 * slope,
    )
    return Composite(*(min(max(rating, 1.0), 5.0) for rating in ratings))


def composite(
    clean, estimate, sample_rate: int = 16000, family: str = "raw"
) -> Composite:
    """CSIG, CBAK and COVL of an estimate.

    Arguments
    ---------
    clean, estimate : array_like
        The reference and the signal to judge, shape [time], in [-1, 1].
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
    return rate_pair(SignalPair(clean, estimate, sample_rate), family)
