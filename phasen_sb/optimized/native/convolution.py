"""Convolutions by the compiled kernels, each in the cheapest of its layouts."""

import ctypes
from typing import NamedTuple

import torch
import torch.nn.functional as F

from phasen_sb.optimized.native.library import (
    DEPTH,
    INT,
    POINTER,
    VECTOR,
    Compiled,
    call,
    structure,
)
from phasen_sb.optimized.native.winograd import MADE, TAPS, transform_kernel
from phasen_sb.optimized.portable.packing import PACKED, pack_kernel

#: Frames, or bins, that may go into a row; tiles are multiples of so many
#: frames.
PACKS = tuple(2**n for n in range(PACKED.bit_length()))
#: What Winograd's transforms of a vector cost, in products for a frame: of the
#: input, for each five of taps, and of the output.
INPUT_COST, OUTPUT_COST = 350, 500

_Convolution = structure(
    "_Convolution",
    {
        "x": POINTER,
        "x_bin": INT,
        "x_row": INT,
        "weight": POINTER,
        "kernel_bins": INT,
        "depth": INT,
        "edge": INT,
        "outputs": INT,
        "bias": POINTER,
        "y": POINTER,
        "y_bin": INT,
        "y_row": INT,
        "bins": INT,
        "rows": INT,
        "after": ctypes.c_int,
        "gated": POINTER,
        "gated_bin": INT,
        "gated_row": INT,
        "added": POINTER,
        "added_bin": INT,
        "added_row": INT,
    },
)
_Winograd = structure(
    "_Winograd",
    {"of": _Convolution, "fives": INT, "packed": INT, "channels": INT},
)


def right_side(matrices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Matrices ``[..., depth, columns]``, laid out for the kernels.

    Example
    -------
    >>> right_side(torch.randn(5, 144, 24), torch.float32).shape
    torch.Size([5, 144, 32])
    """
    depth = DEPTH if dtype == torch.bfloat16 else 1
    rows, columns = matrices.shape[-2:]
    matrices = F.pad(matrices, (0, -columns % VECTOR, 0, -rows % depth))
    if dtype == torch.bfloat16:
        pairs = matrices.unflatten(-2, (-1, 2)).transpose(-1, -2)
        matrices = pairs.reshape(matrices.shape)
    return matrices.to(dtype).contiguous()


class Layout(NamedTuple):
    """A way to compute a convolution.

    A row of the output holds some ``frames`` of some ``bins``; ``reach`` is
    what it sees on either side, in frames. At the start of the depth, ``edge``
    deep, the last third of the outputs is zero, and at its end the first.
    ``cost`` is in products for a frame and bin, ``fives`` those of taps that
    Winograd's filtering takes. All follow from the kernel's shape alone, so
    that another kernel of that shape can take the place of the first.
    """

    frames: int
    bins: int
    reach: int
    edge: int
    cost: float
    fives: int = 0


def _direct(weight, frames, dtype):
    """A weight, laid out for the kernels, and its layout."""
    edge = _edge(_by_bins(torch.ones_like(weight), frames)[0])
    weight, reach = _by_bins(weight, frames)
    weight = right_side(weight, dtype)
    # Tiles compute the edges, too.
    skipped = edge if dtype == torch.float32 else 0
    cost = _products(weight, skipped) / frames
    return weight, Layout(frames, 1, reach, edge, cost)


def _by_bins(weight, frames):
    weight, reach = pack_kernel(weight, frames)
    # [frames * C_out, frames * C_in, bins, rows] to [bins, depth, outputs].
    return weight.permute(2, 3, 1, 0).flatten(1, 2), reach


def _winograd(weight, bins):
    outputs, inputs, taps, _ = weight.shape
    fives = taps // TAPS
    # Ones are zero at none of the points.
    ones = transform_kernel(torch.ones_like(weight), bins)
    edge = _edge(ones.flatten(0, 1))
    weight = right_side(transform_kernel(weight, bins), torch.float32)
    cost = _products(weight, edge) / (MADE * bins)
    cost += -(-inputs // VECTOR) * fives * INPUT_COST
    cost += -(-outputs // VECTOR) * OUTPUT_COST
    return weight, Layout(1, bins, taps // 2, edge, cost, fives)


def _edge(weight):
    """The edge of ``[kernels, depth, outputs]``."""
    _, depth, outputs = weight.shape
    if outputs != 3 * VECTOR:
        return 0
    filled = [
        (weight[..., part] != 0).any(0).any(1).int()
        for part in (slice(-VECTOR, None), slice(VECTOR))
    ]
    edges = [int(filled[0].argmax()), int(filled[1].flip(0).argmax())]
    return min(*edges, depth // 2) // 2 * 2  # bf16 comes in pairs


def _products(weight, edge):
    kernels = weight[..., 0, 0].numel()
    return weight.numel() - 2 * edge * VECTOR * kernels


class Conv(Compiled):
    """A convolution of tiles.

    Arguments and calls are those of
    :class:`phasen_sb.optimized.portable.operations.Conv`.

    Example
    -------
    >>> conv = Conv(torch.randn(24, 24, 5, 5), torch.randn(24), torch.float32)
    >>> conv.reach  # in frames on either side
    2
    """

    AFTER = ("", "relu", "gate")

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor,
        dtype: torch.dtype,
        after: str = "",
        dense: bool = True,
    ):
        super().__init__(dtype)
        self.channels, self.in_channels, taps, self.kernel_bins = weight.shape
        packs = PACKS if dense else (1,)
        choices = [_direct(weight, pack, dtype) for pack in packs]
        if dense and dtype == torch.float32 and taps % TAPS == 0:
            choices += [
                _winograd(weight, bins)
                for bins in PACKS
                if bins == 1 or bins * self.channels <= 3 * VECTOR
            ]
        laid_out, self.layout = min(choices, key=lambda choice: choice[1].cost)
        self.register_buffer("weight", laid_out)
        self.reach = self.layout.reach
        copies = self.layout.frames * self.layout.bins
        self.register_buffer("bias", bias.repeat(copies).float())
        self.after = self.AFTER.index(after)

    def forward(
        self,
        x: torch.Tensor,
        out: torch.Tensor,
        gated: torch.Tensor | None = None,
        added: torch.Tensor | None = None,
    ) -> None:
        """Convolves ``[F, frames + 2 * reach, C_in]`` into ``out``."""
        bins, frames, _ = out.shape
        layout = self.layout
        assert frames % (MADE if layout.fives else layout.frames) == 0
        arguments = _Convolution(
            *self._place(x),
            self.weight.data_ptr(),
            self.kernel_bins,
            self.weight.shape[-2],
            layout.edge,
            len(self.bias),
            self.bias.data_ptr(),
            *self._place(out),
            bins,
            frames // layout.frames,
            self.after,
            *self._place(gated),
            *self._place(added),
        )
        if not layout.fives:
            return call("phasen_convolve", self.kind, arguments)
        sizes = layout.fives, layout.bins, self.in_channels
        arguments = _Winograd(arguments, *sizes)
        return call("phasen_convolve_winograd", self.kind, arguments)

    def _place(self, tile):
        if tile is None:
            return None, 0, 0
        row = self.layout.frames * tile.stride(1)
        return tile.data_ptr(), tile.stride(0), row
