"""Fast evaluation of a trained enhancer on a CPU.

:func:`phasen_sb.optimize` makes an enhancer of the same weights that computes
the same function in another order.
"""

import copy

from torch import nn

from phasen_sb.errors import choose
from phasen_sb.models.enhancer import PhasenEnhancer
from phasen_sb.network.phasen import PHASEN
from phasen_sb.optimized.network import TiledPHASEN
from phasen_sb.optimized.short import add_plain
from phasen_sb.utils.hardware import PRECISIONS, fastest_precision


def is_optimizable(enhancer: nn.Module) -> bool:
    """Whether :func:`phasen_sb.optimize` takes a model of these classes.

    It takes no subclasses, since they may compute something else, and no
    causal networks.

    Example
    -------
    >>> is_optimizable(nn.Identity())
    False
    """
    return (
        type(enhancer) is PhasenEnhancer
        and type(enhancer.network) is PHASEN
        and not enhancer.network.causal
    )


def optimize(
    enhancer: PhasenEnhancer, precision: str = "auto"
) -> PhasenEnhancer:
    """Makes a copy of a trained enhancer that is fast and frugal on a CPU.

    Batch norms are folded, frames are packed, and layers compute tiles that
    stay in the cache; see :class:`phasen_sb.optimized.network.TiledPHASEN`.
    Each of PyTorch's threads (``torch.set_num_threads``) computes a stretch of
    time.

    Arguments
    ---------
    enhancer : PhasenEnhancer
        The enhancer, with a :class:`phasen_sb.PHASEN` on the CPU. It is not
        changed, and shares no weights with the result.
    precision : str
        ``fp32``, ``bf16``, or ``auto``: bf16 if the CPU has instructions for
        it (AMX or AVX512-BF16), else fp32.

    Returns
    -------
    PhasenEnhancer
        With the same interface, for inference alone. It can be copied and
        pickled, but not moved to another device or cast.

        Its ``state_dict`` holds the folded weights in the layout of this
        machine and precision. It fits other enhancers that were optimized in
        the same way, not trained ones; where layouts differ,
        ``load_state_dict`` raises an error. To store a model, store the
        trained enhancer.

    Raises
    ------
    ValueError
        If enhancer or network are of another class or not on the CPU, or the
        precision is unknown.

    Example
    -------
    >>> import torch
    >>> from phasen_sb import ConvISTFT, ConvSTFT
    >>> enhancer = PhasenEnhancer(
    ...     ConvSTFT(16000), ConvISTFT(16000), PHASEN(recurrent_units=8)
    ... ).eval()
    >>> noisy = torch.randn(1, 4321)
    >>> with torch.inference_mode():
    ...     difference = optimize(enhancer, "fp32")(noisy)[0]
    ...     difference -= enhancer(noisy)[0]
    >>> bool(difference.abs().max() < 1e-4)
    True
    """
    network = getattr(enhancer, "network", None)
    if not is_optimizable(enhancer):
        raise ValueError(
            "optimize takes a PhasenEnhancer with a PHASEN that is not causal, "
            f"not a {type(enhancer).__name__} with a {type(network).__name__}."
        )
    device = next(network.parameters()).device
    if device.type != "cpu":
        raise ValueError(
            f"optimize is for the CPU, but the network is on {device}."
        )
    if precision == "auto":
        precision = fastest_precision("cpu")
    choose("precision", precision, tuple(PRECISIONS))
    return PhasenEnhancer(
        copy.deepcopy(enhancer.stft),
        copy.deepcopy(enhancer.istft),
        add_plain(network, TiledPHASEN(network, PRECISIONS[precision])),
        enhancer.normalize,
    ).eval()
