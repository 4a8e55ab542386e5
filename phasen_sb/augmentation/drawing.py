"""Random numbers of a generator, on the device that it is on."""

import torch


def is_on_host(generator: torch.Generator) -> bool:
    """Tells whether reading what a generator draws costs nothing.

    On the CPU draws are read, and work that they make needless is skipped.
    Reading would synchronise with a GPU: there everything is computed and
    ``torch.where`` chooses.
    """
    return generator.device.type == "cpu"


def draw_uniform(
    limits: tuple[float, float], generator: torch.Generator, *shape: int
) -> torch.Tensor:
    """Draws numbers that are distributed evenly between two limits.

    Example
    -------
    >>> draws = draw_uniform((2, 4), torch.Generator().manual_seed(0), 1000)
    >>> bool(draws.min() >= 2), bool(draws.max() < 4), draws.mean().round()
    (True, True, tensor(3.))
    """
    low, high = limits
    return low + (high - low) * torch.rand(
        shape, generator=generator, device=generator.device
    )


def draw_normal(generator: torch.Generator, *shape: int) -> torch.Tensor:
    """Draws numbers of a normal distribution with mean 0 and variance 1."""
    return torch.randn(shape, generator=generator, device=generator.device)


def draw_index(
    size: int, generator: torch.Generator, *shape: int
) -> torch.Tensor:
    """Draws whole numbers from 0 to ``size - 1``."""
    return torch.randint(
        size, shape, generator=generator, device=generator.device
    )


def draw_order(size: int, generator: torch.Generator) -> torch.Tensor:
    """Draws a permutation of 0 to ``size - 1``."""
    return torch.randperm(size, generator=generator, device=generator.device)
