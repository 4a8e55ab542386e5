"""TiledPHASEN: the trained network, evaluated tile by tile.

It computes the same function as :class:`phasen_sb.PHASEN` in evaluation mode.
Batch norms are folded into the convolutions, and layers compute tiles that
stay in the cache, by compiled kernels or by PyTorch. A stream is written to
memory only where a global layer norm needs the statistics of the whole
recording, and between blocks.
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
from phasen_sb.optimized.folding import Attention, Block, Folding, PhaseUnit
from phasen_sb.optimized.kernels import find_operations
from phasen_sb.optimized.norms import Affine, FrameNorm, GlobalMoments
from phasen_sb.optimized.portable.packing import PACKED
from phasen_sb.optimized.streams import (
    Convolution,
    FrequencyTransform,
    Grid,
    Spectrum,
    Stored,
    StoredFloat24,
    Stream,
    choose_tile_size,
)
from phasen_sb.signals.padding import mark_valid_frames
from phasen_sb.signals.spectra import compress, unit_phase

#: The stems' outputs of up to so many frames are kept for the long skips. Those
#: of longer recordings are computed again for each block, which takes a tenth
#: more time and half as much memory.
KEPT_FRAMES = 4000


class TiledPHASEN(Fixed):
    """Evaluates a trained PHASEN on a CPU.

    Arguments
    ---------
    network : PHASEN
        The network. Its weights are copied, so that later training does not
        change this object.
    dtype : torch.dtype
        ``torch.float32`` or ``torch.bfloat16``: of all convolutions, products
        and stored streams. Statistics, masks and phases are fp32.
    tile_frames : sequence of int, optional
        Sizes of tiles (frames), of which the cheapest for a recording is used.
        They are rounded up to multiples of four and to twice the reach of the
        longest kernel. By default they suit the operations.

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
        fold = Folding(dtype)
        self.amplitude_stem = nn.ModuleList(
            map(fold.amplitude, network.amplitude_stem)
        )
        self.blocks = nn.ModuleList(map(fold.block, network.blocks))
        self.phase_stem, self.phase_head = None, None
        if network.phase_stem is not None:
            self.phase_stem = nn.ModuleList(map(fold.phase, network.phase_stem))
            self.phase_head = Folding(torch.float32).conv(
                network.phase_head, dense=False
            )
        # The frames that a kernel sees in two tiles must fit into one.
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
        """The module of operations that compute the tiles."""
        return find_operations(self.squeeze)

    def forward(
        self, spectrogram: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> PhasenOutput:
        """Enhances spectrograms, one after the other.

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
        tile = choose_tile_size(frames, self.tiles)
        grid = Grid(frames, tile, self.operations)
        stems = self._make_stems(grid, spectrogram)
        # Each block overwrites it in place, behind the frames that it reads.
        amplitudes, phases = self._allocate_memory(grid)
        amplitude, phase = stems()
        skips = None, None
        for block, moments in zip(self.blocks, self.moments, strict=True):
            for layer in block.amplitude:
                amplitude = self._apply_layer(grid, amplitude, layer)
            for layer, moment in zip(block.phase, moments, strict=True):
                phase = self._apply_unit(grid, phase, layer, phases, moment)
            exchange = self._make_exchange(grid, block, amplitude, phase)
            if block is self.blocks[-1]:
                break
            if self.long_skips:
                skips = stems()
            self._write(exchange, (amplitudes, phases), skips)
            amplitude, phase = amplitudes, phases
        features, phase = self._run_heads(grid, exchange, amplitudes, phases)
        # Copies, so that the larger memory of the streams is freed.
        del amplitude, amplitudes, phases, stems, skips, exchange
        features = features.clone()
        phase = None if phase is None else phase.clone()
        estimate = self._estimate_mask(features)
        return enhance(spectrogram, estimate, phase, self.input_share)

    def _allocate_memory(self, grid):
        """Allocates memory for both streams of a recording."""
        channels = self.amplitude_stem[-1].channels
        if self.dtype == torch.float32:
            amplitudes = StoredFloat24(grid, self.n_bins, channels)
        else:
            amplitudes = self._allocate(grid, channels)
        if self.phase_stem is None:
            return amplitudes, None
        channels = self.phase_stem[-1].conv.channels
        return amplitudes, self._allocate(grid, channels)

    def _allocate(self, grid, channels):
        return Stored(grid, self.n_bins, channels, self.dtype)

    def _empty_tile(self, frames, channels):
        shape = self.n_bins, frames, channels
        return self.operations.empty_tile(shape, self.dtype)

    def _make_stems(self, grid, spectrogram):
        """Makes a function that returns streams of both stems' outputs."""

        def visible(frames):
            return compress(frames, self.input_power)

        def compute():
            amplitude = Spectrum(grid, spectrogram, visible)
            for layer in self.amplitude_stem:
                amplitude = self._apply_layer(grid, amplitude, layer)
            if self.phase_stem is None:
                return amplitude, None
            is_unit = self.phase_input == "unit"
            phase = Spectrum(
                grid, spectrogram, unit_phase if is_unit else visible
            )
            for layer in self.phase_stem:
                phase = self._apply_conv(grid, phase, layer.conv)
            return amplitude, phase

        if not self.long_skips or grid.frames > KEPT_FRAMES:
            return compute
        kept = []
        for stream in compute():
            kept.append(stream and self._allocate(grid, stream.conv.channels))
            for start in grid.starts() if stream else ():
                stream(start, kept[-1].tile(start))
        return lambda: tuple(kept)

    def _apply_layer(self, grid, source, layer):
        if not isinstance(layer, Attention):
            return self._apply_conv(grid, source, layer)
        seen = self._empty_tile(
            grid.tile + layer.taps // 2, layer.shares.squeeze.in_channels
        )
        return FrequencyTransform(grid, source, layer, seen)

    def _apply_conv(self, grid, source, conv):
        seen = self._empty_tile(grid.tile + 2 * conv.reach, conv.in_channels)
        return Convolution(grid, source, conv, seen)

    def _apply_unit(self, grid, source, unit: PhaseUnit, memory, moments):
        if unit.norm is not None and unit.norm_first:
            source = self._apply_norm(grid, source, unit.norm, memory, moments)
        source = self._apply_conv(grid, source, unit.conv)
        if unit.norm is not None and not unit.norm_first:
            source = self._apply_norm(grid, source, unit.norm, memory, moments)
        return source

    def _apply_norm(self, grid, source: Stream, norm, memory: Stored, moments):
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

    def _make_exchange(self, grid, block: Block, amplitude, phase):
        """Makes a function that writes a tile of both streams, gated."""
        a = self._empty_tile(grid.tile, self.squeeze.in_channels)
        if phase is not None:
            p = self._empty_tile(grid.tile, self.phase_head.in_channels)

        def exchange(start, a_place, p_place, a_added=None, p_added=None):
            amplitude(start, a)
            if phase is None:
                return _gate(None, None, a, a_place, a_added)
            phase(start, p)
            _gate(block.phase_to_amplitude, p, a, a_place, a_added)
            _gate(block.amplitude_to_phase, a, p, p_place, p_added)

        return exchange

    def _write(self, exchange, memory, skips):
        """Writes a block's streams, with the skips added, to memory."""
        for start in memory[0].grid.starts():
            places = [stream and stream.tile(start) for stream in memory]
            added = [self._read_skip(skip, start) for skip in skips]
            exchange(start, *places, *added)
            for stream in memory:
                if stream is not None:
                    stream.keep(start)

    def _read_skip(self, skip: Stream | None, start):
        if skip is None or isinstance(skip, Stored):
            return skip and skip.tile(start)
        place = self._empty_tile(skip.grid.tile, skip.conv.channels)
        skip(start, place)
        return place

    def _run_heads(self, grid, exchange, amplitudes, phases):
        """Computes features of the mask ``[T, F * C]`` and the phase."""
        frames = len(grid.starts()) * grid.tile
        memory = [stream.x for stream in (amplitudes, phases) if stream]
        # In the streams' memory: results are smaller than the tiles that they
        # overwrite, so they stay behind the frames that are read.
        channels = self.squeeze.channels
        features = _reuse(memory[0], frames, self.n_bins * channels, self.dtype)
        angles = None
        if phases is not None:
            angles = _reuse(memory[1], frames, 2 * self.n_bins, torch.float32)
            shape = self.n_bins, grid.tile, self.phase_head.in_channels
            wide = find_operations(self.phase_head).empty_tile(
                shape, torch.float32
            )
        a, p = (
            stream and self._empty_tile(grid.tile, stream.channels)
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
            # Moved behind the features, so that the phase stream's memory is
            # freed before the features are copied.
            place = memory[0].flatten()[features.nbytes // memory[0].itemsize :]
            place = _reuse(place, *angles.shape, angles.dtype)
            angles = place.copy_(angles)[: grid.frames]
            angles = angles.view(-1, self.n_bins, 2)
        return features[: grid.frames], angles

    def _estimate_mask(self, features):
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
    """Views memory as ``[rows, width]``; allocates if it is too small."""
    memory = memory.flatten()
    values = max(dtype.itemsize // memory.itemsize, 1)
    memory = memory[-memory.storage_offset() % values :]
    memory = memory[: len(memory) // values * values].view(dtype)
    if len(memory) < rows * width:
        memory = torch.empty(rows * width, dtype=dtype)
    return memory[: rows * width].view(rows, width)


def _pad(x, frames):
    return nn.functional.pad(x, (0, 0) * (x.dim() - 1) + (0, frames - len(x)))
