"""The names of the measures, and their evaluation on one pair of signals."""

import difflib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from phasen_sb.errors import UserError
from phasen_sb.metrics import checks
from phasen_sb.metrics.composite import FAMILIES, Composite, combine
from phasen_sb.metrics.distortion import segmental_snr, si_sdr, snr
from phasen_sb.metrics.dnsmos import DNSMOS, dnsmos
from phasen_sb.metrics.perceptual import pesq, stoi
from phasen_sb.metrics.spectral import llr, wss


class SignalPair:
    """Two signals, and those of their measures that others are made of.

    PESQ and the spectral distances are computed once although several
    composite measures need them.

    Arguments
    ---------
    clean : np.ndarray
        The reference, shape [time].
    estimate : np.ndarray
        The signal to judge, same shape.
    sample_rate : int
        In Hz.
    """

    def __init__(self, clean, estimate, sample_rate: int):
        self.clean = clean
        self.estimate = estimate
        self.sample_rate = sample_rate

    @property
    def signals(self) -> tuple:
        """Clean signal, estimate and sample rate, as the measures take them."""
        return self.clean, self.estimate, self.sample_rate

    @cached_property
    def pesq_wb(self) -> float:
        """Wide-band PESQ."""
        return pesq(*self.signals)

    @cached_property
    def llr(self) -> float:
        """Log-likelihood ratio."""
        return llr(*self.signals)

    @cached_property
    def dnsmos(self) -> DNSMOS:
        """DNSMOS P.835 of the estimate."""
        return dnsmos(self.estimate, self.sample_rate)

    @cached_property
    def _families(self) -> dict[str, Composite]:
        return {}

    def composite(self, family: str) -> Composite:
        """CSIG, CBAK and COVL of one family."""
        if family not in self._families:
            rescale, amplitude = FAMILIES[family]
            self._families[family] = combine(
                self.pesq_wb,
                self.llr,
                wss(*self.signals, amplitude),
                segmental_snr(*self.signals, rescale),
            )
        return self._families[family]


class Metric(NamedTuple):
    """A named measure.

    Arguments
    ---------
    label : str
        How tables call it.
    compute : callable
        Takes a `SignalPair`, returns a float.
    higher_is_better : bool
        Which way improvement lies.
    package : str
        The package that computes it, "" for our own code.
    """

    label: str
    compute: Callable[[SignalPair], float]
    higher_is_better: bool = True
    package: str = ""


def _stoi(pair: SignalPair) -> float:
    return stoi(*pair.signals)


# Those that may hang or crash, being made of PESQ's C code, stand last: a
# pair that runs into the time limit keeps the scores it already has.
METRICS: dict[str, Metric] = {
    "si_sdr": Metric("SI-SDR", lambda p: si_sdr(p.clean, p.estimate)),
    "snr": Metric("SNR", lambda p: snr(p.clean, p.estimate)),
    "ssnr": Metric("SSNR", lambda p: segmental_snr(*p.signals)),
    "ssnr_rescaled": Metric(
        "SSNR rescaled", lambda p: segmental_snr(*p.signals, rescale=True)
    ),
    "llr": Metric("LLR", lambda p: p.llr, higher_is_better=False),
    "wss": Metric("WSS", lambda p: wss(*p.signals), higher_is_better=False),
    "wss_rescaled": Metric(
        "WSS rescaled",
        lambda p: wss(*p.signals, FAMILIES["rescaled"].amplitude),
        higher_is_better=False,
    ),
    "stoi": Metric("STOI", _stoi, package="pystoi"),
    "estoi": Metric(
        "ESTOI", lambda p: stoi(*p.signals, extended=True), package="pystoi"
    ),
    "dnsmos_sig": Metric(
        "DNSMOS SIG", lambda p: p.dnsmos.sig, package="speechmos"
    ),
    "dnsmos_bak": Metric(
        "DNSMOS BAK", lambda p: p.dnsmos.bak, package="speechmos"
    ),
    "dnsmos_ovrl": Metric(
        "DNSMOS OVRL", lambda p: p.dnsmos.ovrl, package="speechmos"
    ),
    "pesq_wb": Metric("PESQ-wb", lambda p: p.pesq_wb, package="pesq"),
    "pesq_nb": Metric(
        "PESQ-nb", lambda p: pesq(*p.signals, mode="nb"), package="pesq"
    ),
    "csig": Metric("CSIG", lambda p: p.composite("raw").csig, package="pesq"),
    "cbak": Metric("CBAK", lambda p: p.composite("raw").cbak, package="pesq"),
    "covl": Metric("COVL", lambda p: p.composite("raw").covl, package="pesq"),
    "csig_rescaled": Metric(
        "CSIG rescaled",
        lambda p: p.composite("rescaled").csig,
        package="pesq",
    ),
    "cbak_rescaled": Metric(
        "CBAK rescaled",
        lambda p: p.composite("rescaled").cbak,
        package="pesq",
    ),
    "covl_rescaled": Metric(
        "COVL rescaled",
        lambda p: p.composite("rescaled").covl,
        package="pesq",
    ),
}


def resolve(names: Iterable[str]) -> tuple[str, ...]:
    """Checks names of measures and puts them into the order of evaluation.

    Arguments
    ---------
    names : iterable of str
        Keys of `METRICS`.

    Returns
    -------
    tuple of str
        The same names, each once.

    Raises
    ------
    UserError
        If a name is unknown, or the package that computes it is missing.

    Example
    -------
    >>> resolve(["pesq_wb", "stoi"])
    ('stoi', 'pesq_wb')
    >>> resolve(["pesq"])
    Traceback (most recent call last):
    ...
    phasen_sb.errors.UserError: There is no metric "pesq"; did you mean
    "pesq_wb"? The metrics are si_sdr, ...
    """
    names = set(names)
    for name in sorted(names - METRICS.keys()):
        close = difflib.get_close_matches(name, METRICS, n=1)
        hint = f'; did you mean "{close[0]}"? The' if close else ". The"
        raise UserError(
            f'There is no metric "{name}"{hint} metrics are '
            f"{', '.join(METRICS)}."
        )
    for package in sorted({METRICS[name].package for name in names} - {""}):
        if importlib.util.find_spec(package) is None:
            extra = "phasen_sb[dnsmos]" if package == "speechmos" else package
            raise UserError(
                f"The chosen metrics need the package {package}; install it "
                f'with: pip install "{extra}".'
            )
    return tuple(name for name in METRICS if name in names)


def evaluate(
    clean, estimate, sample_rate: int, names: Iterable[str]
) -> Iterator[tuple[str, float | checks.MetricError]]:
    """Computes measures one after the other; failures do not end it.

    Arguments
    ---------
    clean : array_like
        The reference, shape [time].
    estimate : array_like
        The signal to judge, same shape.
    sample_rate : int
        In Hz.
    names : iterable of str
        Keys of `METRICS`.

    Yields
    ------
    tuple
        The name, and a finite score or the error that stands for it.

    Example
    -------
    >>> list(evaluate([3.0, 0.0], [3.0, 0.3], 16000, ["snr"]))
    [('snr', 20.0)]
    """
    pair = SignalPair(clean, estimate, sample_rate)
    for name in names:
        try:
            score = METRICS[name].compute(pair)
            if not np.isfinite(score):
                raise checks.MetricError(
                    checks.UNDEFINED,
                    f"{METRICS[name].label} came out as {score}",
                )
        except checks.MetricError as error:
            yield name, error
        except Exception as error:
            # PESQ, for one, raises a bare ValueError when its own arithmetic
            # meets a NaN; one file's trouble must not stop the others.
            yield (
                name,
                checks.MetricError(
                    checks.OTHER, f"{type(error).__name__}: {error}"
                ),
            )
        else:
            yield name, float(score)
