"""The ``identity`` initialisation: an untrained PHASEN returns its input.

From PyTorch's default initialisation the network would first have to learn to
let speech through. Here the mask starts near one, and two channels of the
phase stream pass the real and imaginary part on, through delta kernels and
nearly constant gates, so that the first estimate of the clean phase is the
noisy phase. All other weights start at random, some scaled down, so that
gradients reach them from the first step.

``steady`` does the same, and begins with nearly constant attention. Otherwise
frequency transformation blocks multiply activations by weights that grow with
them, so that six of them amplify what is unusual without bound: batch norms
hide that from the loss in training, but not in evaluation. A training of a few
dozen steps does not find smaller weights by itself.

Each function changes a layer in place after PyTorch's own initialisation;
:class:`phasen_sb.network.layers.Conv2d`,
:class:`phasen_sb.network.layers.Linear` and
:class:`phasen_sb.network.batch_norm.BatchNorm` call it at every reset.
"""

from collections.abc import Sequence

import torch
from torch import nn

from phasen_sb.errors import UserError

#: Channels that pass the real and the imaginary part on.
PASSED_CHANNELS = 2
#: Scale of the random weights around them.
LEAK = 0.1
#: Of a gate, whose tanh(1.5) = 0.905 is far from zero and not yet saturated.
GATE_BIAS = 1.5
#: Of the mask's last layer: sigmoid(3) = 0.953, softplus(0.541) = 1.
MASK_BIAS = {"sigmoid": 3.0, "softplus": 0.541}

INITIALIZATIONS = ("identity", "steady", "default")


@torch.no_grad()
def delta_kernel(conv: nn.Conv2d, delay: int = 0) -> None:
    """Lets the first two channels pass unchanged through a convolution.

    With a ``delay``, they come out so many frames later.

    Example
    -------
    >>> from phasen_sb.network.layers import Conv2d
    >>> conv = Conv2d(2, 4, (5, 3), initializer=delta_kernel)
    >>> x = torch.rand(1, 2, 10, 17)
    >>> (conv(x)[:, :2] - x).abs().mean() < 0.2
    tensor(True)
    """
    time, frequency = (size // 2 for size in conv.kernel_size)
    if conv.causal:
        time = conv.kernel_size[0] - 1
    conv.bias.zero_()
    conv.weight[:PASSED_CHANNELS] *= LEAK
    for channel in range(PASSED_CHANNELS):
        conv.weight[channel, channel, time - delay, frequency] = 1.0


def share_delay(
    frames: int, kernels: Sequence[Sequence[int]], causal: bool = True
) -> list[int]:
    """Shares a delay out over kernels, in order, as far as each of them spans.

    With look-ahead the ``identity`` initialisation passes the noisy phase on
    so many frames late, through the kernels of the phase stem.

    Example
    -------
    >>> share_delay(6, [(5, 3), (25, 3)])
    [4, 2]
    """
    most = sum(taps - 1 for taps, _ in kernels)
    if not 0 <= frames <= most or frames != int(frames):
        raise UserError(
            f"lookahead_frames is {frames}; it must be a whole number from 0 "
            f"to the {most} frames that phase_stem_kernels span."
        )
    if frames and not causal:
        raise UserError(
            f"lookahead_frames is {frames}, but the network is not causal and "
            "sees all frames; set causal to True."
        )
    delays = []
    for taps, _ in kernels:
        delays.append(min(frames, taps - 1))
        frames -= delays[-1]
    return delays


@torch.no_grad()
def open_gate(conv: nn.Conv2d) -> None:
    """Makes ``tanh(conv(x))`` nearly constant, positive and trainable."""
    conv.weight *= LEAK
    conv.bias.fill_(GATE_BIAS)


@torch.no_grad()
def steady_attention(norm: nn.Module) -> None:
    """Makes the attention, ``relu(norm(x))``, nearly one."""
    norm.weight *= LEAK
    norm.bias.fill_(1.0)


class NearOneMask:
    """Makes the last dense layer of the mask give nearly one everywhere.

    Arguments
    ---------
    activation : str
        The mask's activation, ``sigmoid`` or ``softplus``.
    """

    def __init__(self, activation: str):
        self.bias = MASK_BIAS[activation]

    @torch.no_grad()
    def __call__(self, linear: nn.Linear) -> None:
        linear.weight *= LEAK
        linear.bias.fill_(self.bias)


@torch.no_grad()
def near_one_complex_mask(linear: nn.Linear) -> None:
    """Starts a complex mask (real half, imaginary half) at 1 + 0i."""
    linear.weight *= LEAK
    half = linear.bias.numel() // 2
    linear.bias[:half] = 1.0
    linear.bias[half:] = 0.0
