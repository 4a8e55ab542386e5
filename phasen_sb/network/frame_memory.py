"""What causal layers remember of earlier frames when frames come in steps.

Networks pass a :class:`FrameMemory` from layer to layer. It holds the states
before a step and collects those after it, in the order in which layers
compute: a network's step is a function of the frames and a list of tensors.
"""

from collections.abc import Sequence

import torch
from torch import nn


class FrameMemory:
    """The states of a network's layers before and after a step.

    Arguments
    ---------
    before : sequence of torch.Tensor, optional
        What ``after`` held at the end of the last step; by default there was
        none, and all states are zero.

    Example
    -------
    >>> memory = FrameMemory()
    >>> memory.prepend(torch.ones(1, 1, 3, 1), 2, dim=2).flatten()
    tensor([0., 0., 1., 1., 1.])
    >>> memory = FrameMemory(memory.after)
    >>> memory.prepend(5 * torch.ones(1, 1, 1, 1), 2, dim=2).flatten()
    tensor([1., 1., 5.])
    """

    def __init__(self, before: Sequence[torch.Tensor] | None = None):
        self._before = None if before is None else iter(before)
        self.after: list[torch.Tensor] = []

    def prepend(self, x: torch.Tensor, frames: int, dim: int) -> torch.Tensor:
        """Puts the last ``frames`` of earlier steps in front of ``x``.

        Arguments
        ---------
        x : torch.Tensor
            The frames of this step.
        frames : int
            How many frames to remember.
        dim : int
            The axis of time.

        Returns
        -------
        torch.Tensor
            ``x``, longer by ``frames``.
        """
        if not frames:
            return x
        if self._before is None:
            shape = list(x.shape)
            shape[dim] = frames
            before = x.new_zeros(shape)
        else:
            before = next(self._before)
        x = torch.cat([before, x], dim)
        self.after.append(x.narrow(dim, x.shape[dim] - frames, frames))
        return x

    def recur(self, layer: nn.RNNBase, x: torch.Tensor) -> torch.Tensor:
        """Applies an LSTM or a GRU from where the last step ended.

        Both ``x`` and the result are ``[B, T, values]``.
        """
        is_lstm = isinstance(layer, nn.LSTM)
        count = 2 if is_lstm else 1
        if self._before is None:
            shape = 1, x.shape[0], layer.hidden_size
            states = [x.new_zeros(shape)] * count
        else:
            states = [next(self._before) for _ in range(count)]
        if x.shape[1] == 1:
            # On a CPU the layer would rearrange its weights for each frame.
            cell = torch.lstm_cell if is_lstm else torch.gru_cell
            states = [state[0] for state in states]
            before = states if is_lstm else states[0]
            after = cell(x[:, 0], before, *layer.all_weights[0])
            after = [state[None] for state in (after if is_lstm else [after])]
            out = after[0].transpose(0, 1)
        else:
            out, after = layer(x, tuple(states) if is_lstm else states[0])
            after = after if is_lstm else [after]
        self.after += after
        return out
