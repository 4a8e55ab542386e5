"""Signals of known seeds."""

import torch


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal values."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
