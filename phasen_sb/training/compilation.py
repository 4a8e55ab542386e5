"""Compiles the network, for training that is faster and needs less memory."""

from types import MethodType

import torch
from torch import nn
from torch._functorch import config as autograd_config


def compile_network(
    network: nn.Module, activation_memory_budget: float = 1.0, **options
) -> None:
    """Compiles a network in place; its first steps then take minutes.

    Only the largest shape of batch is compiled, once with padding and once
    without. Where utterances are cropped, nearly all batches have it; the
    others run as before, since each shape would be compiled separately.
    Parameters and their names do not change.

    The network needs a ``forward(spectrogram, lengths=None)`` as that of
    :class:`phasen_sb.PHASEN`. ``activation_memory_budget`` is the share of the
    activations, 0 to 1, that may be kept for the backward pass; those that cost
    least are recomputed there. The setting is global to the process. The
    options are those of :func:`torch.compile`.
    """
    # PyTorch takes it as a global setting only.
    autograd_config.activation_memory_budget = activation_memory_budget
    plain = type(network).forward
    compiled = torch.compile(plain, **options)
    largest = torch.Size()

    def forward(self, spectrogram, lengths=None):
        nonlocal largest
        shape = spectrogram.shape
        if not largest or shape.numel() > largest.numel():
            largest = shape
        return (compiled if shape == largest else plain)(
            self, spectrogram, lengths
        )

    # Bound, so that a deep copy calls the copy.
    network.forward = MethodType(forward, network)
