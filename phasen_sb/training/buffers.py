"""Copies of buffers, such as running statistics, to undo a bad batch."""

import torch
from torch import nn

#: Buffers of one type and device, and their values, flattened.
Copies = list[tuple[list[torch.Tensor], torch.Tensor]]


def copy_buffers(module: nn.Module) -> Copies:
    """Copies all buffers of a module in few operations.

    Example
    -------
    >>> norm = nn.BatchNorm1d(1)
    >>> copies = copy_buffers(norm)
    >>> _ = norm(torch.tensor([[1.0], [float("nan")]]))
    >>> norm.running_mean
    tensor([nan])
    >>> restore_buffers(copies)
    >>> norm.running_mean, norm.num_batches_tracked
    (tensor([0.]), tensor(0))
    """
    alike: dict[tuple, list[torch.Tensor]] = {}
    for buffer in module.buffers():
        alike.setdefault((buffer.dtype, buffer.device), []).append(buffer)
    return [(buffers, _flatten(buffers)) for buffers in alike.values()]


@torch.no_grad()
def restore_buffers(copies: Copies, keep: torch.Tensor | None = None) -> None:
    """Gives buffers the values that they had when they were copied.

    Arguments
    ---------
    copies : list
        Of :func:`copy_buffers`.
    keep : torch.Tensor, optional
        A bool, scalar, on their device. Where it is True, the buffers stay as
        they are.
    """
    for buffers, values in copies:
        if keep is not None:
            now = _flatten(buffers)
            values = torch.where(keep.to(now.device), now, values)
        parts = values.split([buffer.numel() for buffer in buffers])
        torch._foreach_copy_(
            buffers,
            [
                part.view_as(buffer)
                for part, buffer in zip(parts, buffers, strict=True)
            ],
        )


def _flatten(buffers):
    return torch.cat([buffer.detach().flatten() for buffer in buffers])
