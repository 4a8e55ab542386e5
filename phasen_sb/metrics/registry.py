"""The names of the measures, and their evaluation on one pair of signals."""

import difflib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from phasen_sb.errors import UserError
from phasen_sb.metrics import checks
from phasen_sb.metrics.composite import FAMILIES, rate_pair
from phasen_sb.metrics.distillmos import distillmos
from phasen_sb.metrics.distortion import segmental_snr, si_sdr, snr
from phasen_sb.metrics.dnsmos import DNSMOS, dnsmos
from phasen_sb.metrics.perceptual import pesq, stoi
from phasen_sb.metrics.signal_pair import SignalPair
from phasen_sb.metrics.spectral import llr, wss


class Metric(NamedTuple):
    """A named measure."""

    label: str  #: its name in tables
    compute: Callable[[SignalPair], float]
    unit: str = ""  #: such as "dB"
    digits: int = 2  #: usual decimals
    higher_is_better: bool = True
    package: str = ""  #: the package that computes it, "" for our own code
    name: str = ""  #: the label spelled out; "" if that says no more
    #: Whether PESQ is a part of it, so that it is no evidence beside PESQ.
    contains_pesq: bool = False
    needs_reference: bool = True  #: whether it takes the clean signal

    @property
    def title(self) -> str:
        """The name with the unit, for readers who may not know the label."""
        name = self.name or self.label
        return f"{name} ({self.unit})" if self.unit else name


def _rating(label: str, family: str, name: str) -> Metric:
    """One of the three composite ratings."""
    return Metric(
        label,
        lambda p: getattr(rate_pair(p, family), name),
        package="pesq",
        contains_pesq=True,
    )


def _dnsmos(name: str) -> Metric:
    """One of the three ratings of DNSMOS, which needs no reference."""
    return Metric(
        f"DNSMOS {name.upper()}",
        lambda p: getattr(p.measure(_rate_estimate), name),
        package="speechmos",
        needs_reference=False,
    )


def _rate_estimate(clean, estimate, sample_rate: int) -> DNSMOS:
    return dnsmos(estimate, sample_rate)


#: All measures by name. Those that may hang or crash, being made of PESQ's C
#: code, stand last: a pair that runs into the time limit keeps the scores it
#: already has.
METRICS: dict[str, Metric] = {
    "si_sdr": Metric("SI-SDR", lambda p: si_sdr(p.clean, p.estimate), "dB"),
    "snr": Metric("SNR", lambda p: snr(p.clean, p.estimate), "dB"),
    "ssnr": Metric(
        "SSNR",
        lambda p: p.measure(segmental_snr, False),
        "dB",
        name="segmental SNR",
    ),
    "ssnr_rescaled": Metric(
        "SSNR rescaled", lambda p: p.measure(segmental_snr, True), "dB"
    ),
    "llr": Metric("LLR", lambda p: p.measure(llr), higher_is_better=False),
    "wss": Metric(
        "WSS",
        lambda p: p.measure(wss, FAMILIES["raw"].amplitude),
        higher_is_better=False,
    ),
    "wss_rescaled": Metric(
        "WSS rescaled",
        lambda p: p.measure(wss, FAMILIES["rescaled"].amplitude),
        higher_is_better=False,
    ),
    "stoi": Metric(
        "STOI", lambda p: p.measure(stoi), digits=3, package="pystoi"
    ),
    "estoi": Metric(
        "ESTOI", lambda p: p.measure(stoi, True), digits=3, package="pystoi"
    ),
    "dnsmos_sig": _dnsmos("sig"),
    "dnsmos_bak": _dnsmos("bak"),
    "dnsmos_ovrl": _dnsmos("ovrl"),
    "distillmos": Metric(
        "Distill-MOS",
        lambda p: distillmos(p.estimate, p.sample_rate),
        package="distillmos",
        needs_reference=False,
    ),
    "pesq_wb": Metric(
        "PESQ-wb",
        lambda p: p.measure(pesq),
        package="pesq",
        name="PESQ (wideband)",
    ),
    "pesq_nb": Metric(
        "PESQ-nb",
        lambda p: p.measure(pesq, "nb"),
        package="pesq",
        name="PESQ (narrowband)",
    ),
    "csig": _rating("CSIG", "raw", "csig"),
    "cbak": _rating("CBAK", "raw", "cbak"),
    "covl": _rating("COVL", "raw", "covl"),
    "csig_rescaled": _rating("CSIG rescaled", "rescaled", "csig"),
    "cbak_rescaled": _rating("CBAK rescaled", "rescaled", "cbak"),
    "covl_rescaled": _rating("COVL rescaled", "rescaled", "covl"),
}

#: What the packages of some measures are installed with.
EXTRAS = {
    "speechmos": "phasen_sb[dnsmos]",
    "distillmos": "phasen_sb[distillmos]",
}

#: What else installing a package needs.
COMPILED = {"pesq": " (it is compiled by a C compiler)"}

#: What readers look for, in the order of model cards.
USUAL_METRICS = (
    *("pesq_wb", "pesq_nb", "stoi", "estoi", "si_sdr"),
    *("ssnr", "csig", "cbak", "covl"),
)
#: What needs no clean signal, the overall ratings first.
REFERENCE_FREE = ("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "distillmos")


def order_for_tables(metrics: Iterable[str]) -> list[str]:
    """Sorts measures so that each shows what those before it do not.

    Intelligibility, distortion and predicted ratings come first, then PESQ,
    and last what contains it.

    Example
    -------
    >>> order_for_tables(["covl", "pesq_wb", "dnsmos_ovrl", "si_sdr", "stoi"])
    ['stoi', 'si_sdr', 'dnsmos_ovrl', 'pesq_wb', 'covl']
    """
    first = ("stoi", "estoi", "si_sdr", *REFERENCE_FREE, "ssnr")
    order = [*first, *USUAL_METRICS, *METRICS]
    return sorted(
        metrics, key=lambda m: (METRICS[m].contains_pesq, order.index(m))
    )


def resolve(names: Iterable[str]) -> tuple[str, ...]:
    """Checks names of measures and puts them into the order of evaluation.

    Each is returned once. Raises UserError if a name is unknown, or the package
    that computes it is missing.
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
            extra = EXTRAS.get(package, package)
            needing = [m for m in METRICS if METRICS[m].package == package]
            raise UserError(
                "To measure "
                f"{', '.join(name for name in needing if name in names)} "
                f'install the package {package}: pip install "{extra}"'
                f"{COMPILED.get(package, '')}; or choose other metrics."
            )
    return tuple(name for name in METRICS if name in names)


def evaluate(
    clean, estimate, sample_rate: int, names: Iterable[str]
) -> Iterator[tuple[str, float | checks.MetricError]]:
    """Computes measures one after the other; failures do not end it.

    Arguments
    ---------
    clean, estimate : array_like
        The reference and the signal to judge, shape [time].
    sample_rate : int
        In Hz.
    names : iterable of str
        Keys of :data:`METRICS`.

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
