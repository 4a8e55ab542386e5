"""Safe complex arithmetic on spectra ``[..., 2]`` (real, imaginary)."""

import torch

# Smallest squared modulus told from zero; 1e-15 in modulus, a normal float32.
TINY = 1e-30


def magnitude(z: torch.Tensor) -> torch.Tensor:
    """Modulus of ``[..., 2]`` (real, imaginary), with finite gradients at 0.

    Example
    -------
    >>> magnitude(torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    # Clamped, not shifted: silence keeps magnitude zero (to 1e-15) and the
    # gradient there is exactly zero instead of 0 / 0.
    return z.square().sum(-1).clamp(min=TINY).sqrt()


def unit_phase(z: torch.Tensor, eps: float = 1e-12) -> torch.Tensor:
    """Divides ``[..., 2]`` (real, imaginary) by its modulus.

    The epsilon inside the root bounds the gradient by ``eps ** -0.5`` where
    the modulus vanishes; there the result goes to zero.

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
