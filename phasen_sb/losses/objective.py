"""The objective of a training: a weighted sum of losses, in one YAML entry.

Any loss of SpeechBrain's convention ``(predictions, targets, length)`` can be
a term, on the domain it is made for.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from phasen_sb.errors import choose
from phasen_sb.signals.padding import clear_padding, count_frames, count_samples
from phasen_sb.signals.spectra import magnitude

#: Domains of losses that are computed from a complex spectrogram.
SPECTRAL = {
    "spectrum": lambda spectrogram: spectrogram,
    "magnitude": magnitude,
    "log_magnitude": lambda spectrogram: torch.log1p(magnitude(spectrogram)),
}
#: The spectrum of the enhanced waveform. It differs from the network's, parts
#: of which may cancel in the inverse STFT.
CONSISTENT = "consistent_spectrum"
DOMAINS = ("waveform", CONSISTENT, *SPECTRAL)
#: Losses whose domain is the waveform, unless another is given.
WAVEFORM_LOSSES = ("stoi_loss", "si_snr_loss", "pesq_loss")
#: Losses derived from a metric, and what results of training on them are
#: marked with.
METRIC_LOSSES = {"pesq_loss": "PESQ loss", "stoi_loss": "STOI loss"}
PARTS = ("loss", "domain", "weight")
#: Names that the training's log uses for figures of its own.
LOGGED = ("loss", "skipped_steps")


class Objective:
    """A weighted sum of named losses, each on its domain.

    All signals are at the level the network works at: divided by the RMS of
    the noisy utterance where ``normalize`` is on.

    Arguments
    ---------
    **terms : dict
        For each name a mapping of ``loss``, a callable ``(predictions,
        targets, length)`` that returns a scalar; ``domain``, ``waveform``
        (``[B, samples]``), ``spectrum`` (``[B, T, F, 2]``, the network's),
        ``consistent_spectrum`` (that of the enhanced waveform), ``magnitude``
        or ``log_magnitude`` (``[B, T, F]``); ``weight``, 1 by default. Without
        a domain, ``pesq_loss``, ``si_snr_loss`` and SpeechBrain's
        ``stoi_loss`` compare waveforms and all others spectra.

    Raises
    ------
    ValueError
        If there is no term, or one lacks its loss or has unknown parts.

    Example
    -------
    >>> from speechbrain.nnet.loss.si_snr_loss import si_snr_loss
    >>> from speechbrain.nnet.losses import l1_loss
    >>> from phasen_sb import ConvSTFT
    >>> objective = Objective(
    ...     si_snr={"loss": si_snr_loss},
    ...     l1={"loss": l1_loss, "domain": "magnitude", "weight": 10.0},
    ... )
    >>> clean = torch.randn(2, 1600)
    >>> loss, terms = objective(0.5 * clean, None, clean, None, ConvSTFT(16000))
    >>> sorted(terms)
    ['l1', 'si_snr']
    >>> loss == terms["si_snr"] + 10 * terms["l1"]
    tensor(True)
    """

    def __init__(self, **terms: Mapping[str, Any]):
        if not terms:
            raise ValueError("Objective needs at least one named loss.")
        self.terms = {}
        for name, parts in terms.items():
            if name in LOGGED and len(terms) > 1:
                raise ValueError(
                    f"A term of the objective cannot be named {name!r}, which "
                    "the log uses for its own figure; give it another name."
                )
            if not isinstance(parts, Mapping) or "loss" not in parts:
                raise ValueError(
                    f"{name} of the objective lacks its loss; give it as "
                    f"{name}: {{loss: ..., domain: ..., weight: ...}}."
                )
            for part in parts:
                choose(f"key of the objective's {name}", part, PARTS)
            loss = parts["loss"]
            domain = parts.get("domain", _default_domain(loss))
            choose(f"domain of {name}", domain, DOMAINS)
            self.terms[name] = loss, domain, float(parts.get("weight", 1.0))

    @property
    def losses(self) -> list[str]:
        """Names of the losses whose weight is not 0."""
        return [
            _name(loss) for loss, _, weight in self.terms.values() if weight
        ]

    @classmethod
    def wrap(cls, compute_cost: "Callable | Objective") -> "Objective":
        """Makes a YAML's ``compute_cost`` an objective.

        Arguments
        ---------
        compute_cost : callable or Objective
            A single loss becomes the objective's only term.

        Returns
        -------
        Objective
        """
        if isinstance(compute_cost, cls):
            return compute_cost
        return cls(loss={"loss": compute_cost})

    def __call__(
        self,
        wave: torch.Tensor,
        spectrogram: torch.Tensor | None,
        clean: torch.Tensor,
        lengths: torch.Tensor | None,
        stft: nn.Module,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Compares an estimate with the clean signal.

        Arguments
        ---------
        wave : torch.Tensor
            Enhanced waveforms ``[B, samples]``.
        spectrogram : torch.Tensor or None
            The network's enhanced spectrogram ``[B, T, F, 2]``; None: that of
            ``wave``.
        clean : torch.Tensor
            Clean waveforms ``[B, samples]``.
        lengths : torch.Tensor or None
            Relative lengths in samples, ``[B]``; None: no padding.
        stft : torch.nn.Module
            Analyses waveforms for losses on spectra.

        Returns
        -------
        loss : torch.Tensor
            The weighted sum, a scalar.
        terms : dict
            Each term by name, unweighted and detached, and the terms that a
            loss returns itself. A single loss, the sum itself, is left out.
        """
        target = frames = consistent = None
        domains = {domain for _, domain, _ in self.terms.values()}
        if domains - {"waveform"}:
            target = stft(clean)
            if spectrogram is None or CONSISTENT in domains:
                consistent = stft(clear_padding(wave, lengths))
            if spectrogram is None:
                spectrogram = consistent
            if lengths is not None:
                counts = count_samples(lengths, clean.shape[1])
                frames = count_frames(stft, counts) / target.shape[1]
        total, found = 0.0, {}
        with torch.autocast(clean.device.type, enabled=False):
            for name, (loss, domain, weight) in self.terms.items():
                if domain == CONSISTENT:
                    pair = consistent.float(), target.float()
                    length = frames
                elif domain in SPECTRAL:
                    view = SPECTRAL[domain]
                    pair = view(spectrogram.float()), view(target.float())
                    length = frames
                else:
                    pair = wave.float(), clean.float()
                    length = lengths
                    if lengths is None:  # stoi_loss insists on it
                        length = torch.ones_like(clean[:, 0])
                value, parts = _call(loss, *pair, length)
                total = total + weight * value
                prefix = ""
                if len(self.terms) > 1:
                    prefix = f"{name}_"
                    found[name] = value.detach()
                found |= {prefix + key: part for key, part in parts.items()}
        return total, found


def _default_domain(loss):
    return "waveform" if _name(loss) in WAVEFORM_LOSSES else "spectrum"


def _name(loss):
    function = getattr(loss, "func", loss)  # of a partial, as !name: makes
    return getattr(function, "__name__", type(function).__name__)


def _call(loss, predictions, targets, length):
    # A module's own signature is that of nn.Module.__call__: anything.
    function = loss.forward if isinstance(loss, nn.Module) else loss
    options = {}
    if "return_terms" in inspect.signature(function).parameters:
        options["return_terms"] = True
    result = loss(predictions, targets, length, **options)
    return result if isinstance(result, tuple) else (result, {})
