"""The choice between plain modules and tiles, where no kernels are compiled."""

import copy

import torch

from phasen_sb.network.layer_norms import GlobalLayerNorm
from phasen_sb.network.output import PhasenOutput
from phasen_sb.network.phasen import PHASEN
from phasen_sb.optimized.fixed import Fixed
from phasen_sb.optimized.native import operations as native
from phasen_sb.optimized.network import TiledPHASEN

#: Up to so many frames, whose activations stay in the cache anyway, one thread
#: evaluates the plain modules faster than tiles by PyTorch's operators.
PLAIN_FRAMES = 256


class ShortOrTiled(Fixed):
    """Evaluates plain modules if that is faster, tiles otherwise.

    Arguments
    ---------
    network : PHASEN
        The network. Its weights are copied.
    tiled : TiledPHASEN
        The same network in tiles.

    Example
    -------
    >>> net = PHASEN(
    ...     n_fft=32, recurrent_units=8, dense_units=8, phase_norm="frame"
    ... ).eval()
    >>> x = torch.randn(1, 201, 17, 2)
    >>> with torch.inference_mode():
    ...     ours = ShortOrTiled(net, TiledPHASEN(net))(x).spectrogram
    ...     difference = ours - net(x).spectrogram
    >>> bool(difference.abs().max() < 1e-4)
    True
    """

    def __init__(self, network: PHASEN, tiled: TiledPHASEN):
        super().__init__()
        plain = copy.deepcopy(network).float().eval()
        self.plain = plain.requires_grad_(False)
        self.tiled = tiled

    def forward(
        self, spectrogram: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> PhasenOutput:
        """Enhances spectrograms, as :class:`phasen_sb.PHASEN` does."""
        # Threads divide tiles better than layers.
        is_short = spectrogram.shape[1] <= PLAIN_FRAMES
        if is_short and torch.get_num_threads() == 1:
            with torch.autocast("cpu", enabled=False):
                return self.plain(spectrogram.float(), lengths)
        return self.tiled(spectrogram, lengths)


def add_plain(network: PHASEN, tiled: TiledPHASEN) -> Fixed:
    """Adds the plain modules to a tiled network if they may be faster.

    With compiled kernels tiles are always faster, in bf16 that has not been
    measured, and the statistics of a recording, which global layer norms may
    use, are measured in one of the two networks alone.

    Example
    -------
    >>> net = PHASEN(n_fft=32, recurrent_units=8, dense_units=8).eval()
    >>> type(add_plain(net, TiledPHASEN(net))).__name__  # has global norms
    'TiledPHASEN'
    """
    is_compiled = tiled.operations is native
    has_global = any(isinstance(m, GlobalLayerNorm) for m in network.modules())
    if is_compiled or has_global or tiled.dtype != torch.float32:
        return tiled
    return ShortOrTiled(network, tiled)
