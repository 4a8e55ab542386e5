"""Kernels for Winograd's minimal filtering, F(4, 5).

Four frames of a convolution with five taps take 8 products in place of 20:
kernel and input, as polynomials, are multiplied at 8 points (Lavin and Gray,
arXiv:1509.09308, section 4.1; winograd.hpp does the rest). In fp32 that costs
about one bit; bf16 has none to give. What is no number reaches all four frames.
"""

import math

import torch

#: Frames that come out at once, a divisor of what tiles are multiples of, and
#: taps that go in.
MADE, TAPS = 4, 5
#: Where polynomials are multiplied, infinity beside; in the order of
#: winograd.hpp.
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)


def transform_kernel(weight: torch.Tensor, bins: int) -> torch.Tensor:
    """A kernel's values at the points, for rows of several bins.

    Arguments
    ---------
    weight : torch.Tensor
        ``[C_out, C_in, frames, kernel bins]``, its frames a multiple of five.
    bins : int
        Bins of the output that make a row.

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
    """``[points, taps]``, divided by what winograd.hpp multiplies with."""
    rows = []
    for point in POINTS:
        # There, the polynomial that is zero at all other finite points, of
        # the form x (x + point) (x^2 - other^2) ..., so that its coefficients
        # are dyadic. That of zero is one there.
        others = [abs(q) for q in POINTS[1::2] if q != abs(point)]
        factor = math.prod(point**2 - q**2 for q in others)
        factor = 2 * point**2 * factor if point else 1.0
        rows.append([point**tap / factor for tap in range(TAPS)])
    rows.append([0.0] * (TAPS - 1) + [1.0])
    return torch.tensor(rows, dtype=torch.float64)
