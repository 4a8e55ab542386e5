"""The points of Winograd's minimal filtering, with 8 of them.

Kernel and input, as polynomials, are multiplied at 8 points (Lavin and Gray,
arXiv:1509.09308, section 4.1): so 8 products replace the taps times the frames
that are made at once, which are 9 together. In fp32 that loses about one bit of
precision; bf16 is too short for it. The rest is in the C++ code.
"""

import math

import torch

#: Where polynomials are multiplied, besides at infinity, as in winograd.hpp.
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)


def evaluation_matrix(taps: int) -> torch.Tensor:
    """Returns the matrix that evaluates a kernel at the points.

    Arguments
    ---------
    taps : int
        Taps of the kernel, up to 8.

    Returns
    -------
    torch.Tensor
        ``[points, taps]``, fp64, divided by the factors that winograd.hpp
        omits.

    Example
    -------
    >>> evaluation_matrix(5).shape
    torch.Size([8, 5])
    """
    rows = []
    for point in POINTS:
        # The value, at the point, of the polynomial that is zero at all other
        # finite points, x (x + point) (x^2 - other^2) ..., which has dyadic
        # coefficients. For the point zero it is one.
        others = [abs(q) for q in POINTS[1::2] if q != abs(point)]
        factor = math.prod(point**2 - q**2 for q in others)
        factor = 2 * point**2 * factor if point else 1.0
        rows.append([point**tap / factor for tap in range(taps)])
    rows.append([0.0] * (taps - 1) + [1.0])
    return torch.tensor(rows, dtype=torch.float64)
