"""Compiles what a training step computes, which is faster."""

from collections.abc import Callable
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
    forward = _compile_largest(
        type(network).forward, lambda self, spectrogram: spectrogram, options
    )
    # Bound, so that a deep copy calls the copy.
    network.forward = MethodType(forward, network)


def compile_objective(objective: Callable, **options) -> Callable:
    """Compiles an objective such as :class:`phasen_sb.Objective`.

    It is small beside the network, but consists of hundreds of operations,
    each of which a GPU starts by itself. On a CPU compiling takes longer than
    it saves. As with :func:`compile_network`, only the largest shape is
    compiled; the options are those of :func:`torch.compile`. Validation, which
    calls it without gradients and with longer utterances, runs as before.
    """

    def compute(wave, spectrogram, clean, lengths, stft):
        return objective(wave, spectrogram, clean, lengths, stft)

    return _compile_largest(compute, lambda wave, *_: wave, options)


def _compile_largest(plain, pick, options):
    """Compiles for the largest shape of the tensor that ``pick`` returns.

    Only calls that record gradients count.
    """
    compiled = torch.compile(plain, **options)
    largest = torch.Size()

    def call(first, second, *others, **keywords):
        nonlocal largest
        if not torch.is_grad_enabled():
            return plain(first, second, *others, **keywords)
        shape = pick(first, second).shape
        if not largest or shape.numel() > largest.numel():
            largest = shape
        function = compiled if shape == largest else plain
        return function(first, second, *others, **keywords)

    return call
