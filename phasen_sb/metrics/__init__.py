"""Objective measures of speech quality, and a process pool to compute them.

Every measure is a pure function of two 1-D arrays (the clean speech and an
estimate of it) and the sample rate. Their names are in
:mod:`phasen_sb.metrics.registry`; :mod:`phasen_sb.metrics.pool` computes them
in parallel with a time limit.

Importing this package loads neither torch nor SpeechBrain, so that the pool's
workers start fast and stay small.
"""

from phasen_sb.metrics.checks import MetricError
from phasen_sb.metrics.composite import composite
from phasen_sb.metrics.distillmos import distillmos
from phasen_sb.metrics.distortion import segmental_snr, si_sdr, snr
from phasen_sb.metrics.dnsmos import dnsmos
from phasen_sb.metrics.metric_report import MetricReport
from phasen_sb.metrics.perceptual import pesq, stoi
from phasen_sb.metrics.pool import MetricPool
from phasen_sb.metrics.registry import METRICS, evaluate, resolve
from phasen_sb.metrics.spectral import llr, wss

__all__ = [
    "METRICS",
    "MetricError",
    "MetricPool",
    "MetricReport",
    "composite",
    "distillmos",
    "dnsmos",
    "evaluate",
    "llr",
    "pesq",
    "resolve",
    "segmental_snr",
    "si_sdr",
    "snr",
    "stoi",
    "wss",
]
