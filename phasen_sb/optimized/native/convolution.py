"""Convolutions by the compiled kernels, each in its cheapest layout."""

import ctypes
from typing import NamedTuple

import torch
import torch.nn.functional as F

from phasen_sb.native.library import (
    DEPTH,
    INT,
    LINE,
    POINTER,
    Compiled,
    call,
    declare_structure,
)
from phasen_sb.optimized.native.winograd import MADE, TAPS, transform_kernel
from phasen_sb.optimized.portable.packing import PACKED, pack_kernel

#: Numbers of frames, or of bins, that can share a row.
PACKS = tuple(2**n for n in range(PACKED.bit_length()))
#: The cost of Winograd's transforms of a vector, in products for a frame: of
#: the input, for each five of taps, and of the output.
INPUT_COST, OUTPUT_COST = 350, 500

_Convolution = declare_structure(
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
_Winograd = declare_structure(
    "_Winograd",
    {"of": _Convolution, "fives": INT, "packed": INT, "channels": INT},
)


def lay_out(matrices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Lays matrices ``[..., depth, columns]`` out as kernels read them.

    Example
    -------
    >>> lay_out(torch.randn(5, 144, 24), torch.float32).shape
    torch.Size([5, 144, 32])
    """
    depth = DEPTH if dtype == torch.bfloat16 else 1
    rows, columns = matrices.shape[-2:]
    matrices = F.pad(matrices, (0, -columns % LINE, 0, -rows % depth))
    if dtype == torch.bfloat16:
        pairs = matrices.unflatten(-2, (-1, 2)).transpose(-1, -2)
        matrices = pairs.reshape(matrices.shape)
    return matrices.to(dtype).contiguous()


class Layout(NamedTuple):
    """A way to compute a convolution.

    A row of the output holds ``frames`` times ``bins`` and sees ``reach``
    frames on either side. Over the first ``edge`` of the depth the last third
    of the outputs has zero weights, over the last ``edge`` the first third.
    ``cost`` is in products for a frame and bin; ``fives`` is the number of
    fives of taps in Winograd's filtering, 0 without it. All depend on the
    kernel's shape alone, so that another kernel of that shape can replace it.
    """

    frames: int
    bins: int
    reach: int
    edge: int
    cost: float
    fives: int = 0


def _lay_out_rows(weight, frames, kind):
    """Lays a weight out for rows of frames; returns it and its layout."""
    edge = _find_edge(_pack(torch.ones_like(weight), frames)[0])
    weight, reach = _pack(weight, frames)
    outputs = weight.shape[-1]
    weight = lay_out(weight, kind.dtype)
    # AMX tiles compute the edges, too.
    skipped = edge if kind.dtype == torch.float32 else 0
    cost = _count_products(weight, skipped, outputs, kind) / frames
    return weight, Layout(frames, 1, reach, edge, cost)


def _pack(weight, frames):
    weight, reach = pack_kernel(weight, frames)
    # [frames * C_out, frames * C_in, bins, rows] to [bins, depth, outputs].
    return weight.permute(2, 3, 1, 0).flatten(1, 2), reach


def _lay_out_winograd(weight, bins, kind):
    outputs, inputs, taps, _ = weight.shape
    fives = taps // TAPS
    # At no point is a kernel of ones zero.
    ones = transform_kernel(torch.ones_like(weight), bins)
    edge = _find_edge(ones.flatten(0, 1))
    weight = lay_out(transform_kernel(weight, bins), torch.float32)
    columns = bins * outputs
    cost = _count_products(weight, edge, columns, kind) / (MADE * bins)
    cost += -(-inputs // LINE) * fives * INPUT_COST
    cost += -(-outputs // LINE) * OUTPUT_COST
    return weight, Layout(1, bins, taps // 2, edge, cost, fives)


def _find_edge(weight):
    """Finds the edge of ``[kernels, depth, outputs]``."""
    _, depth, outputs = weight.shape
    if outputs != 3 * LINE:
        return 0
    filled = [
        (weight[..., part] != 0).any(0).any(1).int()
        for part in (slice(-LINE, None), slice(LINE))
    ]
    edges = [int(filled[0].argmax()), int(filled[1].flip(0).argmax())]
    return min(*edges, depth // 2) // 2 * 2  # bf16 is read in pairs


def _count_products(weight, edge, outputs, kind):
    rows = weight[..., 0].numel()
    columns = outputs + -outputs % kind.columns
    kernels = weight[..., 0, 0].numel()
    return rows * columns - 2 * edge * LINE * kernels


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
        choices = [_lay_out_rows(weight, pack, self.kind) for pack in packs]
        if dense and dtype == torch.float32 and taps % TAPS == 0:
            choices += [
                _lay_out_winograd(weight, bins, self.kind)
                for bins in PACKS
                if bins == 1 or bins * self.channels <= 3 * LINE
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
            *self._locate(x),
            self.weight.data_ptr(),
            self.kernel_bins,
            self.weight.shape[-2],
            layout.edge,
            len(self.bias),
            self.bias.data_ptr(),
            *self._locate(out),
            bins,
            frames // layout.frames,
            self.after,
            *self._locate(gated),
            *self._locate(added),
        )
        if not layout.fives:
            return call("phasen_convolve", self.kind, arguments)
        sizes = layout.fives, layout.bins, self.in_channels
        arguments = _Winograd(arguments, *sizes)
        return call("phasen_convolve_winograd", self.kind, arguments)

    def _locate(self, tile):
        if tile is None:
            return None, 0, 0
        row = self.layout.frames * tile.stride(1)
        return tile.data_ptr(), tile.stride(0), row
