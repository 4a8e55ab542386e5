"""Distill-MOS, a network's prediction of a mean opinion score, no reference.

Stahl and Gamper, "Distillation and pruning for scalable self-supervised
representation-based speech quality assessment", arXiv:2502.05356. The package
``distillmos`` contains the published weights; they run offline on the CPU. It
was trained on other ratings, by other networks, than DNSMOS, so the two are
two opinions.
"""

import contextlib
import functools
import os

from phasen_sb.errors import UserError
from phasen_sb.metrics.checks import as_signal


def distillmos(estimate, sample_rate: int = 16000) -> float:
    """Distill-MOS of one signal, whatever its level.

    The network takes 7.68 s at a time; shorter signals are padded.

    Arguments
    ---------
    estimate : array_like
        The signal to judge, shape [time].
    sample_rate : int
        In Hz; must be 16000.

    Returns
    -------
    float
        The predicted rating, nominally in [1, 5].

    Raises
    ------
    UserError
        If the extra ``distillmos`` is not installed.
    MetricError
        If the signal is silent or not finite.

    Example
    -------
    >>> import numpy as np
    >>> tone = 0.1 * np.sin(np.arange(32000))
    >>> distillmos(tone) < 3  # doctest: +SKIP
    True
    """
    if sample_rate != 16000:
        raise ValueError(f"Distill-MOS works at 16000 Hz, not {sample_rate}.")
    samples = as_signal(estimate)
    model = _load()
    import torch  # slow to import; workers of other measures do without

    with torch.inference_mode():
        return model(torch.from_numpy(samples).float()[None]).item()


@functools.cache
def _load():
    try:
        from distillmos import ConvTransformerSQAModel
    except ImportError as error:
        raise UserError(
            f"Distill-MOS needs the package {error.name}; install it with: "
            'pip install "phasen_sb[distillmos]".'
        ) from error
    # It prints where its weights are.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        return ConvTransformerSQAModel().eval()
