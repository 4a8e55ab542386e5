"""TiledPHASEN: the trained network, evaluated tile by tile.

The same function as :class:`phasen_sb.PHASEN` in evaluation mode, from the
same weights. Batch norms are folded into the convolutions, frames are packed
to fill the CPU's vectors, and layers run on tiles that stay in the cache. Only
where a global layer norm needs the statistics of the whole recording is a
stream written to memory.

Authors
 * The phasen_sb authors 2026
"""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from phasen_sb.features import compress, unit_phase
from phasen_sb.heads import MASK_ACTIVATIONS
from phasen_sb.masks import frame_mask
from phasen_sb.norms import FrameLayerNorm, GlobalLayerNorm
from phasen_sb.optimized.folding import Block, Folder, PhaseUnit
from phasen_sb.optimized.norms import Affine, FrameNorm, as_row
from phasen_sb.optimized.packing import PackedConv
from phasen_sb.optimized.recurrent import BothDirections
from phasen_sb.optimized.streams import (
    Convolution,
    FrequencyTransform,
    Grid,
    Spectrum,
    Stored,
    Stream,
)
from phasen_sb.phasen import (
    PHASEN,
    PhasenOutput,
    check_spectrogram,
    enhance,
)

#: Frames in a tile: one layer's tile fits the second-level caches. One of a few
#: sizes, since a library may compile kernels for each.
TILE_FRAMES = {
    torch.bfloat16: (96, 112, 128, 144, 160),
    torch.float32: (40, 48, 56),
}
#: Up to so many frames the stems' outputs are kept for the long skips. Beyond,
#: they are computed anew: a tenth more time, half as much memory.
KEPT_FRAMES = 4000


class GlobalMoments(nn.Module):
    """Moments of a global layer norm's input, on their way to the norm.

    A module of its own so that a forward hook can put those of a whole
    recording in place of those of a chunk.
    """

    def forward(
        self, count: int, mean: float, variance: float
    ) -> tuple[int, float, float]:
        """Returns the number of values, their mean and biased variance."""
        return count, mean, variance


class TiledPHASEN(nn.Module):
    """Evaluates a trained PHASEN on a CPU.

    Arguments
    ---------
    network : PHASEN
        The network. Its weights are copied: later training does not reach
        this object.
    dtype : torch.dtype
        ``torch.float32`` or ``torch.bfloat16``: of all convolutions, products
        and stored streams. Statistics, masks and phases are fp32.
    tile_frames : sequence of int, optional
        Sizes of tiles, in frames, of which the one is taken that a recording
        fills best; at least what the longest kernel sees twice, and even.
        By default those of ``TILE_FRAMES``.

    Example
    -------
    >>> net = PHASEN(n_fft=32, recurrent_units=8, dense_units=8).eval()
    >>> x = torch.randn(1, 201, 17, 2)
    >>> tiled = TiledPHASEN(net)
    >>> with torch.inference_mode():
    ...     difference = tiled(x).spectrogram - net(x).spectrogram
    >>> bool(difference.abs().max() < 1e-4)
    True
    """

    def __init__(
        self,
        network: PHASEN,
        dtype: torch.dtype = torch.float32,
        tile_frames: Sequence[int] | None = None,
    ):
        super().__init__()
        network = copy.deepcopy(network).float().eval()
        self.n_bins = network.n_bins
        self.dtype = dtype
        self.long_skips = network.long_skips
        self.phase_input = network.phase_input
        self.input_power = network.input_power
        self.input_share = network.input_share
        fold = Folder(dtype)
        self.amplitude_stem = [
            fold.amplitude(u) for u in network.amplitude_stem
        ]
        self.blocks = [fold.block(block) for block in network.blocks]
        self.phase_stem, self.phase_head = None, None
        if network.phase_stem is not None:
            self.phase_stem = [fold.phase(unit) for unit in network.phase_stem]
            self.phase_head = Folder(torch.float32).pointwise(
                network.phase_head
            )
        # A layer keeps what its kernel sees twice: no more than a tile. An
        # even number of frames: so they can be packed.
        least = 2 * (_longest_kernel(network) // 2 + 1)
        sizes = tile_frames or TILE_FRAMES[dtype]
        self.tiles = [max(size + size % 2, least) for size in sizes]
        self.moments = nn.ModuleList(
            nn.ModuleList(
                GlobalMoments()
                if isinstance(unit.norm, GlobalLayerNorm)
                else nn.Identity()
                for unit in block.phase
            )
            for block in self.blocks
        )
        head = network.amplitude_head
        self.squeeze = fold.pointwise(
            head.squeeze.conv, head.squeeze.norm, relu=True
        )
        self.recurrent = BothDirections(head.recurrent, dtype)
        self.dense = head.dense.to(dtype)
        self.activation = head.activation
        self.requires_grad_(False).eval()

    def forward(
        self, spectrogram: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> PhasenOutput:
        """Enhances a batch of spectrograms, one after the other.

        Arguments
        ---------
        spectrogram : torch.Tensor
            Noisy complex spectrogram ``[B, T, F, 2]``.
        lengths : torch.Tensor, optional
            Relative lengths, in frames, ``[B]``. Padded frames come out zero.

        Returns
        -------
        PhasenOutput
            As :class:`phasen_sb.PHASEN` returns it.

        Raises
        ------
        ValueError
            If the shape does not end in ``(n_fft / 2 + 1, 2)``.
        """
        check_spectrogram(spectrogram, self.n_bins)
        frames = spectrogram.shape[1]
        counts = [frames] * len(spectrogram)
        if lengths is not None:
            mask = frame_mask(lengths, frames)
            counts = mask.sum((1, 2, 3)).long().tolist()
        with torch.autocast("cpu", enabled=False), torch.no_grad():
            outputs = [
                self._enhance(one[:count].float())
                for one, count in zip(spectrogram, counts, strict=True)
            ]
        return PhasenOutput(
            *(
                torch.stack([_pad(x, frames) for x in parts])
                for parts in zip(*outputs, strict=True)
            )
        )

    def _enhance(self, spectrogram):
        grid = Grid.of(len(spectrogram), self.tiles)
        stems = self._stems(grid, spectrogram)
        # Overwritten in place by each block; read ahead of where it writes.
        amplitudes, phases = self._memory(grid)
        amplitude, phase = stems()
        for block, moments in zip(self.blocks, self.moments, strict=True):
            for layer in block.amplitude:
                amplitude = self._layer(grid, amplitude, layer)
            for layer, moment in zip(block.phase, moments, strict=True):
                phase = self._phase(grid, phase, layer, phases, moment)
            streams = self._exchange(grid, block, amplitude, phase)
            if block is self.blocks[-1]:
                break
            skips = stems() if self.long_skips else (None, None)
            for start, amplitude, phase in streams:
                amplitudes.write(start, amplitude, skips[0])
                if phase is not None:
                    phases.write(start, phase, skips[1])
            amplitude, phase = amplitudes, phases
        features, phase = self._heads(
            grid, streams, amplitudes.x, phases and phases.x
        )
        # Copies free the larger memory that these lie in.
        del amplitude, amplitudes, phases, stems, streams
        features = features.clone()
        phase = None if phase is None else phase.clone()
        estimate = self._estimate(features)
        return enhance(spectrogram, estimate, phase, self.input_share)

    def _memory(self, grid):
        last = [self.amplitude_stem[-1]]
        if self.phase_stem is not None:
            last.append(self.phase_stem[-1].conv)
        memory = [
            Stored(grid, self.n_bins, conv.channels, self.dtype)
            for conv in last
        ]
        return (memory + [None])[:2]

    def _stems(self, grid, spectrogram):
        """What gives both stems' outputs, anew for each block."""

        def visible(frames):
            return compress(frames, self.input_power)

        def spectrum(prepare):
            return Spectrum(grid, spectrogram, prepare, self.dtype)

        def fresh():
            amplitude = spectrum(visible)
            for layer in self.amplitude_stem:
                amplitude = self._layer(grid, amplitude, layer)
            if self.phase_stem is None:
                return amplitude, None
            is_unit = self.phase_input == "unit"
            phase = spectrum(unit_phase if is_unit else visible)
            for layer in self.phase_stem:
                phase = Convolution(grid, phase, layer.conv)
            return amplitude, phase

        if not self.long_skips or grid.frames > KEPT_FRAMES:
            return fresh
        kept = tuple(stream and self._keep(grid, stream) for stream in fresh())
        return lambda: kept

    def _keep(self, grid, stream):
        first = stream(0)
        kept = Stored(grid, len(first), first.shape[2], first.dtype)
        kept.write(0, first)
        for start in grid.starts()[1:]:
            kept.write(start, stream(start))
        return kept

    def _layer(self, grid, source, layer):
        if isinstance(layer, PackedConv):
            return Convolution(grid, source, layer)
        return FrequencyTransform(grid, source, layer)

    def _phase(self, grid, source, unit: PhaseUnit, memory, moments):
        if unit.norm is not None and unit.norm_first:
            source = self._norm(grid, source, unit.norm, memory, moments)
        source = Convolution(grid, source, unit.conv)
        if unit.norm is not None and not unit.norm_first:
            source = self._norm(grid, source, unit.norm, memory, moments)
        return source

    def _norm(self, grid, source: Stream, norm, memory: Stored, moments):
        if isinstance(norm, FrameLayerNorm):
            return FrameNorm(grid, source, norm)
        total, squares = 0.0, 0.0
        for start in grid.starts():
            tile = source(start)
            memory.write(start, tile)
            tile = tile.float().flatten()
            total += float(tile.sum())
            squares += float(tile.dot(tile))
        count = grid.frames * self.n_bins * len(norm.weight)
        mean = total / count
        count, mean, variance = moments(
            count, mean, max(squares / count - mean * mean, 0.0)
        )
        if norm.unbiased:
            variance *= count / max(count - 1, 1)
        scale = norm.weight * (variance + norm.eps) ** -0.5
        shift = norm.bias - mean * scale
        scale, shift = (
            as_row(values.to(self.dtype), grid.tile)
            for values in (scale, shift)
        )
        return Affine(grid, memory, scale, shift)

    def _exchange(self, grid, block: Block, amplitude, phase):
        for start in grid.starts():
            a = amplitude(start)
            if phase is None:
                yield start, a, None
                continue
            p = phase(start)
            gated = a
            if block.phase_to_amplitude is not None:
                gated = self._gate(p, block.phase_to_amplitude, a)
            if block.amplitude_to_phase is not None:
                p = self._gate(a, block.amplitude_to_phase, p)
            yield start, gated, p

    def _gate(self, source, weights, target):
        gate = weights(source).sigmoid_()
        return torch.addcmul(target, target, gate, value=-2)

    def _heads(self, grid, streams, *memory):
        """Features of the mask ``[T, F * C]`` and the phase ``[T, F, 2]``."""
        frames = len(grid.starts()) * grid.tile
        # In the streams' memory: tiles get smaller, so writing stays behind.
        features, phases = (
            None if head is None else _reuse(place, frames, size, dtype)
            for place, size, head, dtype in zip(
                memory,
                (self.n_bins * self.squeeze.out_channels, 2 * self.n_bins),
                (self.squeeze, self.phase_head),
                (self.dtype, torch.float32),
                strict=True,
            )
        )
        for start, a, p in streams:
            tile = slice(start, start + grid.tile)
            features[tile] = self.squeeze(a).transpose(0, 1).flatten(1)
            if p is not None:
                p = self.phase_head(p.float()).transpose(0, 1)
                phases[tile] = unit_phase(p).flatten(1)
        if phases is not None:
            # Behind the features: the phase stream's memory is freed before
            # what is left in the other is copied.
            place = memory[0].flatten()[features.numel() :]
            place = _reuse(place, *phases.shape, phases.dtype)
            phases = place.copy_(phases)[: grid.frames]
            phases = phases.view(-1, self.n_bins, 2)
        return features[: grid.frames], phases

    def _estimate(self, features):
        x = self.dense(self.recurrent(features)).float()
        if self.activation is None:
            return x
        return MASK_ACTIVATIONS[self.activation](x)


def _longest_kernel(network):
    return max(
        module.kernel_size[0]
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    )


def _reuse(memory, rows, width, dtype):
    """``[rows, width]`` in memory that is there, if it is large enough."""
    memory = memory.flatten()
    values = max(dtype.itemsize // memory.itemsize, 1)
    memory = memory[-memory.storage_offset() % values :]
    memory = memory[: len(memory) // values * values].view(dtype)
    if len(memory) < rows * width:
        memory = torch.empty(rows * width, dtype=dtype)
    return memory[: rows * width].view(rows, width)


def _pad(x, frames):
    return nn.functional.pad(x, (0, 0) * (x.dim() - 1) + (0, frames - len(x)))
