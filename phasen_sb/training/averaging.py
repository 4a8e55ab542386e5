"""A running average of the weights, which is validated and exported.

Single steps of the phase stream swing the scores; their average does not.
"""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from phasen_sb.errors import UserError


class WeightAverage(AveragedModel):
    """Exponential moving average of weights and running statistics.

    The average is ``.module``, always in evaluation mode. ``decay`` is the
    weight of the past at each step. It grows from 0.1 as ``(1 + n) / (10 + n)``
    over the first steps, so that the start is forgotten. 0 keeps the newest
    weights.

    Example
    -------
    >>> net = nn.Linear(1, 1, bias=False)
    >>> average = WeightAverage(net, decay=0.5)
    >>> for value in (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0):
    ...     net.weight = nn.Parameter(torch.tensor([[value]]))
    ...     average.update_parameters(net)
    >>> average.module.weight.item()
    2.0
    """

    def __init__(self, model: nn.Module, decay: float):
        if not 0 <= decay < 1:
            raise UserError(f"average_decay is {decay}; it must be in [0, 1).")

        super().__init__(model, use_buffers=True)
        self.decay = decay
        # The Brain does not do this: the average is not among its modules.
        self.eval()

    @torch.no_grad()
    def update_parameters(
        self, model: nn.Module, taken: torch.Tensor | None = None
    ) -> None:
        """Updates the average without synchronising with a GPU.

        Arguments
        ---------
        model : torch.nn.Module
            The one that is averaged.
        taken : torch.Tensor, optional
            A bool, scalar, on the device. Where it is False, nothing changes.
        """
        if taken is not None:
            self.n_averaged = self.n_averaged.to(taken.device)
        count = self.n_averaged.double()
        share = 1 - ((1 + count) / (10 + count)).clamp(max=self.decay)
        share = torch.where(count > 0, share, 1.0)
        pairs = zip(
            (*self.module.parameters(), *self.module.buffers()),
            (*model.parameters(), *model.buffers()),
            strict=True,
        )
        values, counters = [], []
        for averaged, current in pairs:
            kind = values if averaged.is_floating_point() else counters
            kind.append((averaged.detach(), current.detach()))
        averages, newest = zip(*values, strict=True)
        if taken is None:
            torch._foreach_lerp_(averages, newest, float(share))
            self.n_averaged += 1
        else:
            steps = torch._foreach_sub(newest, averages)
            torch._foreach_mul_(steps, (share * taken).float())
            torch._foreach_add_(averages, steps)
            self.n_averaged += taken
        if counters:  # such as those of torch's own batch norm
            torch._foreach_copy_(*zip(*counters, strict=True))
