"""The network compiled, for training that is faster and needs less memory.

Authors
 * The phasen_sb authors 2026
"""

import os
import shutil
import sys

import torch
from torch import nn
from torch._functorch import config as autograd_config

from phasen_sb.errors import UserError


def compile_network(
    network: nn.Module,
    device: str = "cpu",
    activation_memory_budget: float = 1.0,
    **options,
) -> None:
    """Compiles a network in place; its first step then takes minutes.

    Compiled is what the first batch without padding needs. Padded batches, and
    those of another shape, such as an epoch's last, run as before: each would
    be compiled anew.

    Arguments
    ---------
    network : torch.nn.Module
        What to compile, with a ``forward(spectrogram, lengths=None)`` such as
        `PHASEN`'s; its parameters and their names stay as they are.
    device : str
        Where it will run.
    activation_memory_budget : float
        Share of the activations, 0 to 1, that may be kept for the backward
        pass; those that cost least are computed again there. One setting for
        all that the process compiles.
    **options
        For `torch.compile`.

    Raises
    ------
    UserError
        If there is no compiler for a CPU.

    Example
    -------
    >>> from phasen_sb import PHASEN
    >>> network = PHASEN(n_fft=64, recurrent_units=8, dense_units=16)
    >>> compile_network(network, backend="eager")
    >>> network(torch.randn(2, 9, 33, 2)).spectrogram.shape
    torch.Size([2, 9, 33, 2])
    """
    default = "clang++" if sys.platform == "darwin" else "g++"
    compiler = os.environ.get("CXX", default)
    if torch.device(device).type == "cpu" and not shutil.which(compiler):
        raise UserError(
            f"--compile needs the C++ compiler {compiler}; install it, name "
            "another in the environment variable CXX, or leave --compile out."
        )
    # PyTorch has no other place for it.
    autograd_config.activation_memory_budget = activation_memory_budget
    plain = network.forward
    compiled = torch.compile(plain, **options)
    shape: list[torch.Size] = []

    def forward(spectrogram, lengths=None):
        if lengths is not None:
            return plain(spectrogram, lengths)
        if not shape:
            shape.append(spectrogram.shape)
        whole = spectrogram.shape == shape[0]
        return (compiled if whole else plain)(spectrogram)

    network.forward = forward
