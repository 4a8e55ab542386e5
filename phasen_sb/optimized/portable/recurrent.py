"""The recurrent layer, in PyTorch."""

import torch
from torch import nn

from phasen_sb.optimized.threads import Workers

#: Products in bf16 are twice as fast for multiples of so many frames.
MULTIPLE = 32


class BothDirections(nn.Module):
    """A bidirectional LSTM or GRU, fast for any number of frames.

    Each direction is a layer of its own, so that its sequence can be padded
    at the end without changing the results.

    Arguments
    ---------
    layer : torch.nn.LSTM or torch.nn.GRU
        One layer, bidirectional, ``batch_first``.
    dtype : torch.dtype
        Of the weights.

    Example
    -------
    >>> layer = nn.LSTM(8, 5, batch_first=True, bidirectional=True)
    >>> x = torch.randn(1, 7, 8)
    >>> ours = BothDirections(layer, torch.float32)(x[0])
    >>> torch.allclose(ours, layer(x)[0][0], atol=1e-6)
    True
    """

    def __init__(self, layer: nn.Module, dtype: torch.dtype):
        super().__init__()
        sizes = layer.input_size, layer.hidden_size
        self.directions = nn.ModuleList()
        weights = layer.state_dict()
        for ending in ("", "_reverse"):
            direction = type(layer)(*sizes, batch_first=True)
            direction.load_state_dict(
                {
                    name: weights[name + ending]
                    for name in direction.state_dict()
                }
            )
            self.directions.append(direction.to(dtype))

    def forward(
        self, x: torch.Tensor, workers: Workers | None = None
    ) -> torch.Tensor:
        """Maps ``[T, features]`` to ``[T, 2 * units]``."""
        workers = workers or Workers(most=1)
        outputs = workers.map(
            self._run, zip(self.directions, (x, x.flip(0)), strict=True)
        )
        return torch.cat([outputs[0], outputs[1].flip(0)], 1)

    def _run(self, direction):
        layer, x = direction
        frames = len(x)
        x = nn.functional.pad(x, (0, 0, 0, -frames % MULTIPLE))
        return layer(x[None])[0][0, :frames]
