"""TiledPHASEN: the trained network, evaluated tile by tile.

It computes the same function as :class:`phasen_sb.PHASEN` in evaluation mode.
Batch norms are folded into the convolutions, and layers compute tiles that
stay in the cache, by compiled kernels or by PyTorch. A stream is written to
memory only where a global layer norm needs the statistics of the whole
recording, and between blocks. Threads compute parts of the recording, not parts
of layers.
"""

import copy
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import nn

from phasen_sb.network.band_recurrence import BandRecurrence
from phasen_sb.network.heads import MASK_ACTIVATIONS
from phasen_sb.network.layer_norms import GlobalLayerNorm
from phasen_sb.network.output import PhasenOutput, check_spectrogram, enhance
from phasen_sb.network.phasen import PHASEN
from phasen_sb.optimized.evaluation import Evaluation
from phasen_sb.optimized.fixed import Fixed
from phasen_sb.optimized.folding import Folding
from phasen_sb.optimized.kernels import find_operations
from phasen_sb.optimized.norms import GlobalMoments
from phasen_sb.optimized.portable.packing import PACKED
from phasen_sb.optimized.threads import Workers
from phasen_sb.signals.padding import mark_valid_frames


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
            self.phase_head = Folding(torch.float32).heads(
                network.phase_head, network.neighbour_filter
            )
        self.neighbour_filter = network.neighbour_filter
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
        self.bands = head.bands
        if self.bands is None:
            make_recurrent = fold.operations.make_recurrent
            self.recurrent = make_recurrent(head.recurrent, dtype)
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
        tiles = -(-len(spectrogram) // min(self.tiles))
        with Workers(most=tiles) as workers:
            features, phase = Evaluation(self, spectrogram, workers).run()
            estimate = self._estimate_mask(features, workers)
            added = None
            if self.neighbour_filter is not None:
                phase, taps = phase[..., :2], phase[..., 2:]
                added = self.neighbour_filter.apply_taps(taps, spectrogram)
            return enhance(
                spectrogram, estimate, phase, self.input_share, added
            )

    def _estimate_mask(self, features, workers):
        if self.bands is None:
            x = self.recurrent(features, workers)
            x = torch.cat(workers.map(self.dense, x.chunk(workers.count)))
            x = x.float()
        else:
            x = recur_in_bands(self.bands, features.float(), workers)
        if self.activation is None:
            return x
        return MASK_ACTIVATIONS[self.activation](x)


def recur_in_bands(
    recurrence: BandRecurrence, x: torch.Tensor, workers: Workers
) -> torch.Tensor:
    """Maps ``[T, F * C]`` to ``[T, outputs * F]`` by several threads.

    Frames are divided where bands are mixed, bands where frames are.

    Example
    -------
    >>> recurrence = BandRecurrence(17, 3, 1, band_bins=4)
    >>> with Workers(most=2) as workers:
    ...     recur_in_bands(recurrence, torch.rand(50, 17 * 3), workers).shape
    torch.Size([50, 17])
    """
    bins, bands = recurrence.to_bands(x[None])
    for pair in recurrence.pairs:
        for mix, axis in ((pair.mix_bands, 1), (pair.mix_frames, 2)):
            parts = workers.map(mix, bands.chunk(workers.count, axis))
            bands = torch.cat(parts, axis)
    return recurrence.to_bins(bins, bands)[0]


def _longest_kernel(network):
    return max(
        module.kernel_size[0]
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    )


def _pad(x, frames):
    return nn.functional.pad(x, (0, 0) * (x.dim() - 1) + (0, frames - len(x)))
