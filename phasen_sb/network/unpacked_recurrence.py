"""Recurrence over padded batches that need not be packed."""

import torch
from torch import nn

#: Closes a gate: the sigmoid of its negative is zero in every precision.
CLOSING = 1e4


class UnpackedRecurrence(nn.Module):
    """A bidirectional LSTM or GRU that ignores padding.

    PyTorch packs padded sequences for these layers, so that the backward
    direction starts at each sequence's own end. Packing reads the lengths,
    which synchronises with a GPU. Here a further input, one where frames are
    padded, closes the gate by which a frame enters the state: the backward
    direction reaches the last valid frame with a state of zero.

    Arguments
    ---------
    layer : torch.nn.LSTM or torch.nn.GRU
        One layer, bidirectional, ``batch_first``, with biases. Its weights are
        copied.

    Example
    -------
    >>> layer = nn.LSTM(3, 5, batch_first=True, bidirectional=True)
    >>> x = torch.randn(2, 7, 3)
    >>> valid = torch.ones(2, 1, 7, 1)
    >>> x[1, 4:], valid[1, :, 4:] = 0, 0
    >>> out = UnpackedRecurrence(layer)(x, valid)
    >>> torch.allclose(out[1, :4], layer(x[1, :4])[0], atol=1e-6)
    True
    """

    def __init__(self, layer: nn.LSTM | nn.GRU):
        super().__init__()
        units = layer.hidden_size
        self.layer = type(layer)(
            layer.input_size + 1, units, batch_first=True, bidirectional=True
        )
        # Of an LSTM the input gate, of a GRU the one that keeps the state.
        gate, closing = slice(units), -CLOSING
        if isinstance(layer, nn.GRU):
            gate, closing = slice(units, 2 * units), CLOSING
        with torch.no_grad():
            for name, weight in self.layer.named_parameters():
                given = layer.get_parameter(name)
                if name.startswith("weight_ih"):
                    padded = given.new_zeros(len(given), 1)
                    padded[gate] = closing
                    given = torch.cat([given, padded], 1)
                weight.copy_(given)
        self.layer.requires_grad_(False)

    def forward(self, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Maps a padded batch.

        Arguments
        ---------
        x : torch.Tensor
            ``[B, T, features]``. Values on padded frames must be far below
            :data:`CLOSING`.
        valid : torch.Tensor
            ``[B, 1, T, 1]``: 1.0 on valid frames, 0.0 on padded ones.

        Returns
        -------
        torch.Tensor
            ``[B, T, 2 * units]``; what padded frames hold is of no meaning.
        """
        padded = (1 - valid[:, 0]).to(x.dtype)
        return self.layer(torch.cat([x, padded], 2))[0]
