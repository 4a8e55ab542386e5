"""TiledPHASEN: the trained network, evaluated tile by tile.

The same function as :class:`phasen_sb.PHASEN` in evaluation mode, from the
same weights. Batch norms are folded into the convolutions, and layers run on
tiles that stay in the cache, by compiled kernels or by PyTorch. Only where a
global layer norm needs the statistics of the whole recording is a stream
written to memory.
"""

import copy
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import nn

from phasen_sb.network.heads import MASK_ACTIVATIONS
from phasen_sb.network.norms import FrameLayerNorm, GlobalLayerNorm
from phasen_sb.network.phasen import (
    PHASEN,
    PhasenOutput,
    check_spectrogram,
    enhance,
)
from phasen_sb.optimized.fixed import Fixed
from phasen_sb.optimized.folding import Attention, Block, Folder, PhaseUnit
from phasen_sb.optimized.kernels import operations_of
from phasen_sb.optimized.norms import Affine, FrameNorm, GlobalMoments
from phasen_sb.optimized.portable.packing import PACKED
from phasen_sb.optimized.streams import (
    Convolution,
    FrequencyTransform,
    Grid,
    Spectrum,
    Stored,
    StoredInThreeBytes,
    Stream,
    fitting,
)
from phasen_sb.signals.padding import mark_valid_frames
from phasen_sb.signals.spectra import compress, unit_phase

#: Up to so many frames the stems' outputs are kept for the long skips. Beyond,
#: they are computed anew: a tenth more time, half as much memory.
KEPT_FRAMES = 4000


class TiledPHASEN(Fixed):
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
        fills best; at least what the longest kernel sees twice, in fours.
        By default what suits the operations that compute them.

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
        self.amplitude_stem = nn.ModuleList(
            map(fold.amplitude, network.amplitude_stem)
        )
        self.blocks = nn.ModuleList(map(fold.block, network.blocks))
        self.phase_stem, self.phase_head = None, None
        if network.phase_stem is not None:
            self.phase_stem = nn.ModuleList(map(fold.phase, network.phase_stem))
            self.phase_head = Folder(torch.float32).conv(
                network.phase_head, dense=False
            )
        # A layer keeps what its kernel sees twice: no more than a tile.
        reach = _longest_kernel(network) // 2
        least = 2 * (reach + -reach % PACKED)
        sizes = tile_frames or fold.operations.TILE_FRAMES[dtype]
        self.tiles = [max(size + -size % PACKED, least) for size in sizes]
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
        self.squeeze = fold.conv(
            head.squeeze.conv, head.squeeze.norm, "relu", dense=False
        )
        self.recurrent = fold.operations.make_recurrent(head.recurrent, dtype)
        self.dense = head.dense.to(dtype)
        self.activation = head.activation
        self.requires_grad_(False).eval()

    @property
    def operations(self) -> ModuleType:
        """What computes the tiles."""
        return operations_of(self.squeeze)

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
            valid = mark_valid_frames(lengths, frames)
            counts = valid.sum((1, 2, 3)).long().tolist()
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
        frames = len(spectrogram)
        grid = Grid(frames, fitting(frames, self.tiles), self.operations)
        stems = self._stems(grid, spectrogram)
        # Overwritten in place by each block; read ahead of where it writes.
        amplitudes, phases = self._memory(grid)
        amplitude, phase = stems()
        skips = None, None
        for block, moments in zip(self.blocks, self.moments, strict=True):
            for layer in block.amplitude:
                amplitude = self._layer(grid, amplitude, layer)
            for layer, moment in zip(block.phase, moments, strict=True):
                phase = self._phase(grid, phase, layer, phases, moment)
            exchange = self._exchange(grid, block, amplitude, phase)
            if block is self.blocks[-1]:
                break
            if self.long_skips:
                skips = stems()
            self._write(exchange, (amplitudes, phases), skips)
            amplitude, phase = amplitudes, phases
        features, phase = self._heads(grid, exchange, amplitudes, phases)
        # Copies free the larger memory that these lie in.
        del amplitude, amplitudes, phases, stems, skips, exchange
        features = features.clone()
        phase = None if phase is None else phase.clone()
        estimate = self._estimate(features)
        return enhance(spectrogram, estimate, phase, self.input_share)

    def _memory(self, grid):
        """Memory for both streams."""
        channels = self.amplitude_stem[-1].channels
        if self.dtype == torch.float32:
            amplitudes = StoredInThreeBytes(grid, self.n_bins, channels)
        else:
            amplitudes = self._store(grid, channels)
        if self.phase_stem is None:
            return amplitudes, None
        return amplitudes, self._store(grid, self.phase_stem[-1].conv.channels)

    def _store(self, grid, channels):
        return Stored(grid, self.n_bins, channels, self.dtype)

    def _tile(self, frames, channels):
        shape = self.n_bins, frames, channels
        return self.operations.empty_tile(shape, self.dtype)

    def _stems(self, grid, spectrogram):
        """What gives both stems' outputs, anew for each block."""

        def visible(frames):
            return compress(frames, self.input_power)

        def fresh():
            amplitude = Spectrum(grid, spectrogram, visible)
            for layer in self.amplitude_stem:
                amplitude = self._layer(grid, amplitude, layer)
            if self.phase_stem is None:
                return amplitude, None
            is_unit = self.phase_input == "unit"
            phase = Spectrum(
                grid, spectrogram, unit_phase if is_unit else visible
            )
            for layer in self.phase_stem:
                phase = self._convolution(grid, phase, layer.conv)
            return amplitude, phase

        if not self.long_skips or grid.frames > KEPT_FRAMES:
            return fresh
        kept = []
        for stream in fresh():
            kept.append(stream and self._store(grid, stream.conv.channels))
            for start in grid.starts() if stream else ():
                stream(start, kept[-1].tile(start))
        return lambda: tuple(kept)

    def _layer(self, grid, source, layer):
        if not isinstance(layer, Attention):
            return self._convolution(grid, source, layer)
        seen = self._tile(
            grid.tile + layer.taps // 2, layer.shares.squeeze.in_channels
        )
        return FrequencyTransform(grid, source, layer, seen)

    def _convolution(self, grid, source, conv):
        seen = self._tile(grid.tile + 2 * conv.reach, conv.in_channels)
        return Convolution(grid, source, conv, seen)

    def _phase(self, grid, source, unit: PhaseUnit, memory, moments):
        if unit.norm is not None and unit.norm_first:
            source = self._norm(grid, source, unit.norm, memory, moments)
        source = self._convolution(grid, source, unit.conv)
        if unit.norm is not None and not unit.norm_first:
            source = self._norm(grid, source, unit.norm, memory, moments)
        return source

    def _norm(self, grid, source: Stream, norm, memory: Stored, moments):
        if isinstance(norm, FrameLayerNorm):
            return FrameNorm(grid, source, norm)
        total, squares = 0.0, 0.0
        for start in grid.starts():
            tile = memory.tile(start)
            if source is not memory:
                source(start, tile)
            values = self.operations.moments(tile)
            total, squares = total + values[0], squares + values[1]
        count = grid.frames * self.n_bins * len(norm.weight)
        mean = total / count
        count, mean, variance = moments(
            count, mean, max(squares / count - mean * mean, 0.0)
        )
        if norm.unbiased:
            variance *= count / max(count - 1, 1)
        scale = norm.weight * (variance + norm.eps) ** -0.5
        shift = norm.bias - mean * scale
        return Affine(grid, memory, scale, shift)

    def _exchange(self, grid, block: Block, amplitude, phase):
        """What writes a tile of both streams behind their gates."""
        a = self._tile(grid.tile, self.squeeze.in_channels)
        if phase is not None:
            p = self._tile(grid.tile, self.phase_head.in_channels)

        def exchange(start, a_place, p_place, a_added=None, p_added=None):
            amplitude(start, a)
            if phase is None:
                return _gate(None, None, a, a_place, a_added)
            phase(start, p)
            _gate(block.phase_to_amplitude, p, a, a_place, a_added)
            _gate(block.amplitude_to_phase, a, p, p_place, p_added)

        return exchange

    def _write(self, exchange, memory, skips):
        """Puts a block's streams into memory, the skips added."""
        for start in memory[0].grid.starts():
            places = [stream and stream.tile(start) for stream in memory]
            added = [self._read(skip, start) for skip in skips]
            exchange(start, *places, *added)
            for stream in memory:
                if stream is not None:
                    stream.keep(start)

    def _read(self, skip: Stream | None, start):
        if skip is None or isinstance(skip, Stored):
            return skip and skip.tile(start)
        place = self._tile(skip.grid.tile, skip.conv.channels)
        skip(start, place)
        return place

    def _heads(self, grid, exchange, amplitudes, phases):
        """Features of the mask ``[T, F * C]`` and the phase ``[T, F, 2]``."""
        frames = len(grid.starts()) * grid.tile
        memory = [stream.x for stream in (amplitudes, phases) if stream]
        # In the streams' memory: tiles get smaller, so writing stays behind.
        channels = self.squeeze.channels
        features = _reuse(memory[0], frames, self.n_bins * channels, self.dtype)
        angles = None
        if phases is not None:
            angles = _reuse(memory[1], frames, 2 * self.n_bins, torch.float32)
            shape = self.n_bins, grid.tile, self.phase_head.in_channels
            wide = operations_of(self.phase_head).empty_tile(
                shape, torch.float32
            )
        a, p = (
            stream and self._tile(grid.tile, stream.channels)
            for stream in (amplitudes, phases)
        )
        for start in grid.starts():
            tile = slice(start, start + grid.tile)
            exchange(start, a, p)
            places = features[tile].unflatten(1, (self.n_bins, channels))
            self.squeeze(a, places.transpose(0, 1))
            if p is not None:
                wide.copy_(p)
                places = angles[tile].unflatten(1, (self.n_bins, 2))
                self.phase_head(wide, places.transpose(0, 1))
                places.copy_(unit_phase(places))
        if angles is not None:
            # Behind the features: the phase stream's memory is freed before
            # what is left in the other is copied.
            place = memory[0].flatten()[features.nbytes // memory[0].itemsize :]
            place = _reuse(place, *angles.shape, angles.dtype)
            angles = place.copy_(angles)[: grid.frames]
            angles = angles.view(-1, self.n_bins, 2)
        return features[: grid.frames], angles

    def _estimate(self, features):
        x = self.dense(self.recurrent(features)).float()
        if self.activation is None:
            return x
        return MASK_ACTIVATIONS[self.activation](x)


def _gate(gate, source, gated, place, added):
    if gate is not None:
        gate(source, place, gated, added)
    elif added is None:
        place.copy_(gated)
    else:
        torch.add(gated, added, out=place)


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
