"""Kernels for Winograd's minimal filtering, F(4, 5).

Four frames of a convolution with five taps take 8 products in place of 20:
kernel and input, as polynomials, are multiplied at 8 points (Lavin and Gray,
arXiv:1509.09308, section 4.1; winograd.hpp does the rest). In fp32 that loses
about one bit of precision; bf16 is too short for it. NaN spreads to all four
frames.
"""

import math

import torch

#: Frames that are computed at once, of which tiles are multiples, and taps of
#: the kernel.
MADE, TAPS = 4, 5
#: Where polynomials are multiplied, besides at infinity, as in winograd.hpp.
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)


def transform_kernel(weight: torch.Tensor, bins: int) -> torch.Tensor:
    """Evaluates a kernel at the points, for rows of several bins.

    Arguments
    ---------
    weight : torch.Tensor
        ``[C_out, C_in, frames, kernel bins]``, its frames a multiple of five.
    bins : int
        Bins of the output in a row.

    Returns
    -------
    torch.Tensor
        ``[points, fives of taps, (bins + kernel bins - 1) * C_in,
        bins * C_out]``

    Example
    -------
    >>> transform_kernel(torch.randn(24, 12, 25, 3), 2).shape
    torch.Size([8, 5, 48, 48])
    """
    outputs, inputs, _, kernel_bins = weight.shape
    fives = weight.double().unflatten(2, (-1, TAPS))
    # [points, fives, kernel bins, C_in, C_out]
    values = torch.einsum("oigtk,pt->pgkio", fives, _evaluation())
    shape = *values.shape[:2], bins + kernel_bins - 1, inputs, bins, outputs
    packed = values.new_zeros(shape)
    for bin_ in range(bins):
        packed[:, :, bin_ : bin_ + kernel_bins, :, bin_] = values
    return packed.flatten(4, 5).flatten(2, 3).float()


def _evaluation():
    """``[points, taps]``, divided by the factors that winograd.hpp omits."""
    rows = []
    for point in POINTS:
        # The value, at the point, of the polynomial that is zero at all other
        # finite points, x (x + point) (x^2 - other^2) ..., which has dyadic
        # coefficients. For the point zero it is one.
        others = [abs(q) for q in POINTS[1::2] if q != abs(point)]
        factor = math.prod(point**2 - q**2 for q in others)
        factor = 2 * point**2 * factor if point else 1.0
        rows.append([point**tap / factor for tap in range(TAPS)])
    rows.append([0.0] * (TAPS - 1) + [1.0])
    return torch.tensor(rows, dtype=torch.float64)
