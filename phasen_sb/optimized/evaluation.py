"""The evaluation of one recording by the tiled network.

The recording is split into parts, one for each thread. A pass computes them
all; what it stores is complete before the next one begins. So there is one
pass for each global layer norm, which needs the statistics of the whole
recording, and one for each block.
"""

from typing import TYPE_CHECKING

import torch

from phasen_sb.network.layer_norms import FrameLayerNorm
from phasen_sb.optimized.folding import Attention
from phasen_sb.optimized.kernels import find_operations
from phasen_sb.optimized.meetings import Meetings
from phasen_sb.optimized.norms import Affine, FrameNorm
from phasen_sb.optimized.stored import Stored, StoredFloat24
from phasen_sb.optimized.streams import (
    Convolution,
    FrequencyTransform,
    Grid,
    Source,
    Spectrum,
    choose_tile_size,
)
from phasen_sb.optimized.threads import Workers
from phasen_sb.signals.spectra import compress, unit_phase

if TYPE_CHECKING:
    from phasen_sb.optimized.network import TiledPHASEN

#: The stems' outputs of up to so many frames are kept for the long skips. Those
#: of longer recordings are computed again for each block, which takes a tenth
#: more time and half as much memory.
KEPT_FRAMES = 4000


class Evaluation:
    """Evaluates the streams of one recording, up to the heads.

    Arguments
    ---------
    network : TiledPHASEN
        The network.
    spectrogram : torch.Tensor
        ``[T, F, 2]``
    workers : Workers
        The threads.

    Example
    -------
    >>> from phasen_sb import PHASEN
    >>> from phasen_sb.optimized.network import TiledPHASEN
    >>> net = PHASEN(n_fft=32, recurrent_units=8, dense_units=8).eval()
    >>> with torch.inference_mode(), Workers(most=1) as workers:
    ...     evaluation = Evaluation(
    ...         TiledPHASEN(net), torch.randn(100, 17, 2), workers
    ...     )
    ...     features, phase = evaluation.run()
    >>> features.shape, phase.shape
    (torch.Size([100, 136]), torch.Size([100, 17, 2]))
    """

    def __init__(
        self,
        network: "TiledPHASEN",
        spectrogram: torch.Tensor,
        workers: Workers,
    ):
        self.network = network
        self.spectrogram = spectrogram
        self.workers = workers
        frames = len(spectrogram)
        tile = choose_tile_size(frames, network.tiles, workers.count)
        self.grid = Grid(frames, tile, network.operations)
        self.parts = self.grid.split(workers.count)

    def run(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Computes features of the mask and the phase.

        Returns
        -------
        features : torch.Tensor
            ``[T, F * C]``
        phase : torch.Tensor or None
            Of unit modulus, ``[T, F, 2]``, before what else its head estimates
            for each bin; None without a phase stream.
        """
        network = self.network
        stems = self._make_stems()
        # Each block overwrites it in place, behind the frames that it reads.
        amplitudes, phases = self._allocate_memory()
        amplitude, phase = stems()
        skips = None, None
        for block, moments in zip(network.blocks, network.moments, strict=True):
            for layer in block.amplitude:
                amplitude = self._apply_layer(amplitude, layer)
            for layer, moment in zip(block.phase, moments, strict=True):
                phase = self._apply_unit(phase, layer, phases, moment)
            exchange = self._make_exchange(block, amplitude, phase)
            if block is network.blocks[-1]:
                break
            if network.long_skips:
                skips = stems()
            self._write(exchange, (amplitudes, phases), skips)
            amplitude, phase = amplitudes, phases
        features, angles = self._run_heads(exchange, amplitudes, phases)
        # Joined when the memory of the phase stream is free.
        del amplitude, phase, phases, stems, skips, exchange
        frames = self.grid.frames
        features = torch.cat(features)[:frames]
        if angles is not None:
            angles = torch.cat(angles)[:frames].view(
                frames, self.network.n_bins, -1
            )
        return features, angles

    def _allocate_memory(self):
        """Allocates memory for both streams of a recording."""
        network = self.network
        channels = network.amplitude_stem[-1].channels
        if network.dtype == torch.float32:
            amplitudes = StoredFloat24(self.grid, network.n_bins, channels)
        else:
            amplitudes = self._allocate(channels)
        if network.phase_stem is None:
            return amplitudes, None
        return amplitudes, self._allocate(network.phase_stem[-1].conv.channels)

    def _allocate(self, channels):
        network = self.network
        return Stored(self.grid, network.n_bins, channels, network.dtype)

    def _empty_tile(self, frames, channels):
        shape = self.network.n_bins, frames, channels
        return self.grid.operations.empty_tile(shape, self.network.dtype)

    def _make_stems(self):
        """Makes a function that returns sources of both stems' outputs."""
        network = self.network

        def visible(frames):
            return compress(frames, network.input_power)

        def compute():
            amplitude = self._read_spectrum(visible)
            for layer in network.amplitude_stem:
                amplitude = self._apply_layer(amplitude, layer)
            if network.phase_stem is None:
                return amplitude, None
            is_unit = network.phase_input == "unit"
            phase = self._read_spectrum(unit_phase if is_unit else visible)
            for layer in network.phase_stem:
                phase = self._apply_conv(phase, layer.conv)
            return amplitude, phase

        if not network.long_skips or self.grid.frames > KEPT_FRAMES:
            return compute
        amplitude, phase = compute()
        kept = self._keep(amplitude, network.amplitude_stem[-1].channels)
        if phase is None:
            return lambda: (kept, None)
        kept = kept, self._keep(phase, network.phase_stem[-1].conv.channels)
        return lambda: kept

    def _keep(self, source, channels):
        """Stores a stream."""
        stored = self._allocate(channels)
        self._store(source, stored)
        return stored

    def _store(self, source, memory):
        """Stores a stream; returns the moments of its tiles."""
        operations = self.grid.operations

        def work(task):
            part, stream, written = task
            moments = []
            for start in self.grid.starts(part):
                tile = written.tile(start)
                if source is not memory:
                    stream(start, tile, 0)
                moments.append(operations.moments(tile))
            return moments

        tasks = [
            (part, source(part, 0), memory(part, 0)) for part in self.parts
        ]
        return sum(self.workers.map(work, tasks), [])

    def _read_spectrum(self, prepare) -> Source:
        return lambda part, reach: Spectrum(
            self.grid, self.spectrogram, prepare
        )

    def _apply_layer(self, source: Source, layer) -> Source:
        if not isinstance(layer, Attention):
            return self._apply_conv(source, layer)
        reach = layer.taps // 2
        channels = layer.shares.squeeze.in_channels
        meetings = self._make_meetings(channels)

        def make(part, beyond):
            seen = self._empty_tile(self.grid.tile + reach, channels)
            stream = source(part, beyond + reach)
            stream = FrequencyTransform(
                self.grid, stream, layer, seen, meetings.grid_of(part)
            )
            return meetings.join(stream, part, beyond)

        return make

    def _apply_conv(self, source: Source, conv) -> Source:
        meetings = self._make_meetings(conv.channels)

        def make(part, beyond):
            frames = self.grid.tile + 2 * conv.reach
            seen = self._empty_tile(frames, conv.in_channels)
            stream = source(part, beyond + conv.reach)
            stream = Convolution(
                self.grid, stream, conv, seen, meetings.grid_of(part)
            )
            return meetings.join(stream, part, beyond)

        return make

    def _make_meetings(self, channels):
        network = self.network
        return Meetings(
            self.grid, self.workers, network.n_bins, channels, network.dtype
        )

    def _apply_unit(self, source: Source, unit, memory, moments) -> Source:
        if unit.norm is not None and unit.norm_first:
            source = self._apply_norm(source, unit.norm, memory, moments)
        source = self._apply_conv(source, unit.conv)
        if unit.norm is not None and not unit.norm_first:
            source = self._apply_norm(source, unit.norm, memory, moments)
        return source

    def _apply_norm(self, source: Source, norm, memory, moments) -> Source:
        grid = self.grid
        if isinstance(norm, FrameLayerNorm):
            return lambda part, reach: FrameNorm(
                grid, source(part, reach), norm
            )
        total, squares = 0.0, 0.0
        for values in self._store(source, memory):
            total, squares = total + values[0], squares + values[1]
        count = grid.frames * self.network.n_bins * len(norm.weight)
        mean = total / count
        count, mean, variance = moments(
            count, mean, max(squares / count - mean * mean, 0.0)
        )
        if norm.unbiased:
            variance *= count / max(count - 1, 1)
        scale = norm.weight * (variance + norm.eps) ** -0.5
        shift = norm.bias - mean * scale
        return lambda part, reach: Affine(
            grid, memory(part, reach), scale, shift
        )

    def _make_exchange(self, block, amplitude: Source, phase: Source | None):
        """Makes, for a part, a function that writes a tile of both streams,
        gated."""
        network = self.network

        def make(part):
            a_stream = amplitude(part, 0)
            a = self._empty_tile(self.grid.tile, network.squeeze.in_channels)
            if phase is not None:
                p_stream = phase(part, 0)
                channels = network.phase_head.in_channels
                p = self._empty_tile(self.grid.tile, channels)

            def exchange(start, a_place, p_place, a_added=None, p_added=None):
                a_stream(start, a, 0)
                if phase is None:
                    return _gate(None, None, a, a_place, a_added)
                p_stream(start, p, 0)
                _gate(block.phase_to_amplitude, p, a, a_place, a_added)
                _gate(block.amplitude_to_phase, a, p, p_place, p_added)

            return exchange

        return make

    def _write(self, exchange, memory, skips):
        """Writes a block's streams, with the skips added, to memory."""

        def work(task):
            part, exchange, streams, skips = task
            for start in self.grid.starts(part):
                places = [stream and stream.tile(start) for stream in streams]
                exchange(start, *places, *(skip(start) for skip in skips))
                for stream in streams:
                    if stream is not None:
                        stream.keep(start)

        tasks = [
            (
                part,
                exchange(part),
                [stored and stored(part, 0) for stored in memory],
                [
                    self._read_skip(skip, stored, part)
                    for skip, stored in zip(skips, memory, strict=True)
                ],
            )
            for part in self.parts
        ]
        self.workers.map(work, tasks)

    def _read_skip(self, skip: Source | None, stored, part):
        """Makes a function that returns a tile of a skip, None without."""
        if skip is None:
            return lambda start: None
        stream = skip(part, 0)
        if isinstance(skip, Stored):
            return stream.tile
        place = self._empty_tile(self.grid.tile, stored.channels)

        def read(start):
            stream(start, place, 0)
            return place

        return read

    def _run_heads(self, exchange, amplitudes, phases):
        """Computes pieces of the features, and of the phase.

        The phase is ``[T, F * outputs]``, two of them.
        """
        tasks = [(part, exchange(part)) for part in self.parts]

        def work(task):
            return self._run_heads_of_part(*task, amplitudes, phases)

        features, angles = zip(*self.workers.map(work, tasks), strict=True)
        return features, None if phases is None else angles

    def _run_heads_of_part(self, part, exchange, amplitudes, phases):
        # In the streams' memory: results are smaller than the tiles that they
        # overwrite, so they stay behind the frames that are read.
        network, tile = self.network, self.grid.tile
        frames, bins = part.end - part.begin, network.n_bins
        channels = network.squeeze.channels
        memory = amplitudes.memory(part)
        features = _reuse(memory, frames, bins * channels, network.dtype)
        a, p = self._empty_tile(tile, amplitudes.channels), None
        if phases is not None:
            p = self._empty_tile(tile, phases.channels)
            outputs = network.phase_head.channels
            angles = _reuse(
                phases.memory(part), frames, bins * outputs, torch.float32
            )
            operations = find_operations(network.phase_head)
            wide = operations.empty_tile(p.shape, torch.float32)
        for start in self.grid.starts(part):
            exchange(start, a, p)
            here = slice(start - part.begin, start - part.begin + tile)
            places = features[here].unflatten(1, (bins, channels))
            network.squeeze(a, places.transpose(0, 1))
            if p is not None:
                wide.copy_(p)
                places = angles[here].unflatten(1, (bins, outputs))
                network.phase_head(wide, places.transpose(0, 1))
                places[..., :2] = unit_phase(places[..., :2])
        if p is None:
            return features, None
        # Moved behind the features, so that the phase stream's memory can be
        # freed.
        place = memory.flatten()[features.nbytes // memory.itemsize :]
        return features, _reuse(place, *angles.shape, angles.dtype).copy_(
            angles
        )


def _gate(gate, source, gated, place, added):
    if gate is not None:
        gate(source, place, gated, added)
    elif added is None:
        place.copy_(gated)
    else:
        torch.add(gated, added, out=place)


def _reuse(memory, rows, width, dtype):
    """Views memory as ``[rows, width]``; allocates if it is too small."""
    memory = memory.flatten()
    values = max(dtype.itemsize // memory.itemsize, 1)
    memory = memory[-memory.storage_offset() % values :]
    memory = memory[: len(memory) // values * values].view(dtype)
    if len(memory) < rows * width:
        memory = torch.empty(rows * width, dtype=dtype)
    return memory[: rows * width].view(rows, width)
