"""Size and cost of a network, counted on the network itself."""

import copy
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from phasen_sb.errors import UserError
from phasen_sb.models.description import read_description
from phasen_sb.models.enhancer import PhasenEnhancer
from phasen_sb.models.loading import check_files
from phasen_sb.models.safe_description import Untrusted
from phasen_sb.utils.file_names import DESCRIPTION

# Two lengths are counted, this many frames and twice as many: their
# difference is free of what a network does once for each utterance.
_FRAMES = 8


class ModelCost(NamedTuple):
    """What a model takes."""

    parameters: int  #: trainable and fixed ones
    #: Multiply-accumulate operations of the network per second of audio.
    macs_per_second: float
    network: str  #: name of its class
    latency: float | None = None  #: of a causal model (ms), computing aside


def count_macs(network: nn.Module, *inputs: torch.Tensor) -> int:
    """Counts the multiply-accumulate operations of one forward pass.

    Those of matrix products and convolutions, recurrent layers included;
    pointwise operations are not counted, as is usual. Where possible the
    network runs on PyTorch's meta device, which knows only shapes: nothing is
    computed, and there are no fused recurrent kernels, which the counter
    cannot look into. Elsewhere it runs on the CPU. Of the inputs only the
    shapes matter.
    """
    try:
        return _count_macs(network, inputs, "meta")
    except NotImplementedError:  # an operator that needs values
        return _count_macs(network, inputs, "cpu")


def _count_macs(network, inputs, device):
    network = copy.deepcopy(network).to(device).eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(*(x.to(device) for x in inputs))
    return counter.get_total_flops() // 2


def model_cost(enhancer: nn.Module, sample_rate: int) -> ModelCost:
    """Counts an enhancer's parameters and its network's operations.

    The enhancer is a :class:`phasen_sb.PhasenEnhancer` or
    :class:`phasen_sb.WaveformModel`; the rate of the audio is in Hz.
    """
    if isinstance(enhancer, PhasenEnhancer):
        bins = enhancer.stft.n_fft // 2 + 1
        sizes = [(1, frames, bins, 2) for frames in (_FRAMES, 2 * _FRAMES)]
        sizes_per_second = sample_rate / enhancer.stft.hop_length / _FRAMES
    else:  # waveform in, waveform out
        sizes = [(1, sample_rate), (1, 2 * sample_rate)]
        sizes_per_second = 1.0
    short, long = (
        count_macs(enhancer.network, torch.zeros(size)) for size in sizes
    )
    return ModelCost(
        sum(p.numel() for p in enhancer.parameters()),
        (long - short) * sizes_per_second,
        type(enhancer.network).__name__,
        getattr(enhancer, "latency", None),
    )


def find_model(folder: Path) -> Path | None:
    """Finds the model that a folder of results belongs to.

    The folder may be the output folder of a training run, an exported model, or
    up to two levels within one of them. Returns the run or the exported model,
    which has a ``hyperparams.yaml``, or None.
    """
    for place in (folder, *folder.parents[:2]):
        if (place / DESCRIPTION).is_file():
            return place
    return None


def find_model_cost(folder: Path, trust: bool = False) -> ModelCost | None:
    """Counts the model that a folder of results belongs to.

    None if :func:`find_model` finds no ``hyperparams.yaml`` of an enhancer,
    or, with a warning, one that is refused for want of ``trust``.
    """
    place = find_model(folder)
    if place is None:
        return None
    try:
        if not trust:
            check_files(place)
        description = read_description(place / DESCRIPTION, trust)
        enhancer = description.build(str(place))
    except Untrusted as error:
        warnings.warn(f"Its size is not counted: {error}", stacklevel=2)
        return None
    except UserError:
        # Somebody else's file of that name.
        return None
    return model_cost(enhancer, description.sample_rate)
