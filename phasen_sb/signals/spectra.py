"""Arithmetic on complex spectra ``[..., 2]`` (real, imaginary).

Values and gradients are finite at zero, too.
"""

import torch

#: Squared moduli below this count as zero: 1e-15, squared; a normal float32.
TINY = 1e-30


def magnitude(z: torch.Tensor) -> torch.Tensor:
    """Modulus ``[...]`` of ``[..., 2]``: at least 1e-15, of gradient 0 there.

    Example
    -------
    >>> magnitude(torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    # Clamped, not shifted: at zero the gradient is 0 instead of 0 / 0.
    return z.square().sum(-1).clamp(min=TINY).sqrt()


def unit_phase(z: torch.Tensor, eps: float = 1e-12) -> torch.Tensor:
    """Divides ``[..., 2]`` by its modulus; where that vanishes, 0 comes out.

    ``eps``, added to the squared modulus, bounds gradients by ``eps ** -0.5``.

    Example
    -------
    >>> unit_phase(torch.tensor([3.0, 4.0]))
    tensor([0.6000, 0.8000])
    """
    return z * torch.rsqrt(z.square().sum(-1, keepdim=True) + eps)


def compress(z: torch.Tensor, power: float) -> torch.Tensor:
    """Raises the modulus of ``[..., 2]`` to a power and keeps the phase.

    Example
    -------
    >>> compress(torch.tensor([0.0, 4.0]), 0.5)
    tensor([0., 2.])
    """
    if power == 1.0:
        return z
    return z * magnitude(z).unsqueeze(-1) ** (power - 1.0)
