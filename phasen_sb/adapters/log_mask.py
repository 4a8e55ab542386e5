"""Masks of magnitudes as masks of log magnitudes."""

import torch

# Below this, log1p(x) and x are the same in float32.
SMALLEST_FEATURE = 1e-6


def mask_for_log_magnitude(
    mask: torch.Tensor, features: torch.Tensor
) -> torch.Tensor:
    """The factor on ``log1p|X|`` that multiplies ``|X|`` by a mask.

    Arguments
    ---------
    mask : torch.Tensor
        Mask of the linear magnitudes, not negative.
    features : torch.Tensor
        ``log1p|X|``, of the same shape.

    Returns
    -------
    torch.Tensor
        ``log1p(mask * |X|) / log1p|X|``, and its limit, the mask, in silence.

    Example
    -------
    >>> x, mask = torch.tensor([0.0, 3.0]), torch.tensor([0.5, 0.5])
    >>> factor = mask_for_log_magnitude(mask, torch.log1p(x))
    >>> torch.expm1(factor * torch.log1p(x))
    tensor([0.0000, 1.5000])
    """
    features = features.clamp(min=SMALLEST_FEATURE)
    return torch.log1p(mask * torch.expm1(features)) / features
