"""Batch norm of activations ``[B, C, T, F]``, whose statistics exclude padding.

Valid frames are those of
:func:`phasen_sb.signals.padding.mark_valid_frames`.
"""

from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from phasen_sb.errors import UserError
from phasen_sb.network.convolution import has_own_backward
from phasen_sb.network.memory_layout import swap_axes
from phasen_sb.network.rectified_norm import RectifiedNorm, has_rectified_norm


def _add_nothing(sums):
    """There is one process."""
    return sums


class _Sum(torch.autograd.Function):
    """The sum of all processes' tensors, which depends on each of them.

    PyTorch's own is deprecated or private.
    """

    @staticmethod
    def forward(ctx, tensor):
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient):
        return _Sum.forward(ctx, gradient)


def _add_processes(sums):
    """Adds the sums of all processes; gradients flow back to all of them."""
    return _Sum.apply(sums)


class BatchNorm(nn.Module):
    """Batch normalisation whose statistics exclude padded frames.

    In training mode the statistics are those of all *valid* frames of the
    batch, as if the utterances were laid end to end: other utterances of the
    batch have an influence, as in any batch norm, but padding has none. In
    evaluation mode the running statistics are used and every utterance comes
    out as it does alone.

    This is deliberately not a ``torch.nn.BatchNorm2d``: under DDP SpeechBrain
    turns those into ``SyncBatchNorm``, which refuses CPU tensors and cannot
    exclude padding. Under DDP each process normalises its own batch, unless
    :func:`synchronize_norms` has set ``synchronized``: then the statistics are
    those of the batches of all processes.

    Arguments
    ---------
    num_features : int
        Channels, C.
    eps : float
        Added to the variance.
    momentum : float
        Weight of the newest batch in the running statistics.
    initializer : callable, optional
        Called with the norm at each reset, after scales were set to one and
        shifts to zero.

    Example
    -------
    >>> norm = BatchNorm(4)
    >>> norm(torch.rand(2, 4, 10, 17)).shape
    torch.Size([2, 4, 10, 17])
    """

    initializer: Callable[[nn.Module], None] | None = None
    synchronized = False

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        initializer: Callable[[nn.Module], None] | None = None,
    ):
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.initializer = initializer
        self.weight = nn.Parameter(torch.empty(num_features))
        self.bias = nn.Parameter(torch.empty(num_features))
        self.register_buffer("running_mean", torch.empty(num_features))
        self.register_buffer("running_var", torch.empty(num_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets scale one, shift zero and standard running statistics.

        The initializer, if there is one, may set other scales and shifts.
        """
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        self.running_mean.zero_()
        self.running_var.fill_(1.0)
        if self.initializer is not None:
            self.initializer(self)

    def forward(
        self,
        x: torch.Tensor,
        valid: torch.Tensor | None = None,
        rectify: bool = False,
    ) -> torch.Tensor:
        """Normalises ``[B, C, T, F]``.

        Arguments
        ---------
        x : torch.Tensor
            Activations ``[B, C, T, F]``.
        valid : torch.Tensor, optional
            ``[B, 1, T, 1]``: 1.0 on valid frames, 0.0 on padded ones.
        rectify : bool
            Whether ReLU follows. On a CPU, training is faster with both at
            once.

        Returns
        -------
        torch.Tensor
            ``[B, C, T, F]``; what padded frames hold is of no meaning.
        """
        if self.training and self.synchronized and dist.is_initialized():
            if valid is None:
                valid = x.new_ones(len(x), 1, x.shape[2], 1, dtype=torch.float)
            out = self._normalize_valid(x, valid, _add_processes)
            return F.relu(out) if rectify else out
        if valid is None or not self.training:
            return self._normalize(x, rectify)
        if torch.compiler.is_compiling() or x.device.type != "cpu":
            out = self._normalize_valid(x, valid)
            return F.relu(out) if rectify else out
        # End to end, in the input's order in memory: kernels do the rest.
        planar = x.is_contiguous()
        x = x if planar else x.transpose(1, 3)
        counts = valid.sum((1, 2, 3)).long().tolist()
        joined = torch.cat(
            [one[:, :count] for one, count in zip(x, counts, strict=True)], 1
        )[None]
        if planar:
            out = self._normalize(joined, rectify)
        else:
            out = self._normalize(joined.transpose(1, 3), rectify)
            out = out.transpose(1, 3)
        frames = x.shape[2]
        parts = [
            F.pad(part, (0, 0, 0, frames - part.shape[1]))
            for part in out[0].split(counts, 1)
        ]
        out = torch.stack(parts)
        return out if planar else out.transpose(1, 3)

    def _normalize_valid(
        self,
        x: torch.Tensor,
        valid: torch.Tensor,
        add_up: Callable[[torch.Tensor], torch.Tensor] = _add_nothing,
    ) -> torch.Tensor:
        """Normalises by the statistics of valid frames, without joining them.

        That is slower on a CPU. But sizes that depend on values cannot be
        compiled, and reading the values synchronises with a GPU. ``add_up``
        adds sums of several processes.
        """
        over = (0, 2, 3)
        count = add_up(valid.sum()) * x.shape[3]
        mean = add_up((x * valid).sum(over, keepdim=True)) / count
        # In the input's precision, since it is kept for the backward pass.
        centred = ((x - mean) * valid).to(x.dtype)
        norm = torch.linalg.vector_norm(
            centred, dim=over, keepdim=True, dtype=torch.float32
        )
        variance = add_up(norm.square()) / count
        with torch.no_grad():
            unbiased = variance * count / (count - 1).clamp(min=1)
            for kept, newest in (
                (self.running_mean, mean),
                (self.running_var, unbiased),
            ):
                kept.lerp_(newest.flatten(), self.momentum)
        scale = self.weight[:, None, None] * (variance + self.eps).rsqrt()
        return (centred * scale + self.bias[:, None, None]).to(x.dtype)

    def _normalize(self, x: torch.Tensor, rectify: bool) -> torch.Tensor:
        """Normalises ``[B, C, T, F]``, all frames of which are valid."""
        if (
            rectify
            and self.training
            and has_own_backward(x, self.weight)
            and has_rectified_norm(x, self.weight)
        ):
            out, mean, variance = RectifiedNorm.apply(
                x, self.weight, self.bias, self.eps
            )
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
            return out
        # A single value, such as one frame of one bin, has no variance.
        several = x.numel() > x.shape[1]
        planar = self.training and x.is_contiguous()
        out = F.batch_norm(
            x if planar else swap_axes(x),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training and several,
            self.momentum,
            self.eps,
        )
        out = out if planar else swap_axes(out)
        return F.relu(out) if rectify else out


def synchronize_norms(model: nn.Module) -> None:
    """Lets the batch norms of a model share their statistics under DDP.

    Arguments
    ---------
    model : torch.nn.Module
        Its modules of :class:`BatchNorm` are changed, on CPUs and GPUs.
        Others are left to SpeechBrain, which synchronises those of PyTorch on
        GPUs.

    Raises
    ------
    UserError
        If it has none.

    Example
    -------
    >>> synchronize_norms(nn.Sequential(BatchNorm(4)))
    """
    norms = [each for each in model.modules() if isinstance(each, BatchNorm)]
    if not norms:
        raise UserError(
            "sync_batch_norm is True, but the network has no batch norm of "
            "phasen_sb; set it to False."
        )
    for norm in norms:
        norm.synchronized = True
