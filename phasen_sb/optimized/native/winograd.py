"""Kernels for Winograd's minimal filtering, F(4, 5).

Four frames of a convolution with five taps take 8 products in place of 20, see
:mod:`phasen_sb.native.winograd`. NaN spreads to all four frames.
"""

import torch

from phasen_sb.native.winograd import evaluation_matrix

#: Frames that are computed at once, of which tiles are multiples, and taps of
#: the kernel.
MADE, TAPS = 4, 5


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
    values = torch.einsum("oigtk,pt->pgkio", fives, evaluation_matrix(TAPS))
    shape = *values.shape[:2], bins + kernel_bins - 1, inputs, bins, outputs
    packed = values.new_zeros(shape)
    for bin_ in range(bins):
        packed[:, :, bin_ : bin_ + kernel_bins, :, bin_] = values
    return packed.flatten(4, 5).flatten(2, 3).float()
