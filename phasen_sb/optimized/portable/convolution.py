"""Convolutions fused with bias, ReLU or sum, whose weights are laid out once.

oneDNN has these for tensors with channels innermost; PyTorch calls them by the
operators that its compiler emits. Without oneDNN, or for bf16 on CPUs that it
has no kernels for, several operators compute the same.
"""

import torch
import torch.nn.functional as F
from torch import nn

_ONE = [1, 1]


def has_fused(dtype: torch.dtype) -> bool:
    """Whether oneDNN has convolutions of a precision for this CPU.

    Example
    -------
    >>> isinstance(has_fused(torch.float32), bool)
    True
    """
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return True


class FusedConv(nn.Module):
    """A convolution of tiles ``[F, frames, C]``.

    The frequency axis is padded with zeros, the time axis is not.

    Weights in oneDNN's layout can be neither copied nor stored, so copies,
    pickles and the state hold the original weight and lay it out again.

    Arguments
    ---------
    weight : torch.Tensor
        ``[C_out, C_in, bins, frames]``, both sizes odd.
    bias : torch.Tensor or None
        ``[C_out]``
    relu : bool
        Whether ReLU follows.

    Example
    -------
    >>> conv = FusedConv(torch.randn(24, 24, 5, 5), torch.randn(24))
    >>> conv(torch.rand(257, 68, 24)).shape
    torch.Size([257, 64, 24])
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        relu: bool = False,
    ):
        super().__init__()
        self.padding = [weight.shape[2] // 2, 0]
        self.register_buffer("bias", bias)
        self.relu = relu
        self._lay_out(weight)

    def _lay_out(self, weight):
        self.fused = has_fused(weight.dtype)
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        if self.fused:
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, self.padding, _ONE, _ONE, 1
            )

    def get_extra_state(self) -> torch.Tensor:
        """The weight, ``[C_out, C_in, bins, frames]``."""
        return self.weight.to_dense() if self.fused else self.weight

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Replaces the weight by another of the same shape."""
        if state.shape != self.weight.shape:
            raise ValueError(
                f"The weight is {list(self.weight.shape)}, that of the state "
                f"{list(state.shape)}."
            )
        self._lay_out(state.to(self.weight.dtype, copy=True))

    def __getstate__(self):
        return self.__dict__ | {"weight": self.get_extra_state()}

    def __setstate__(self, state):
        super().__setstate__(state)
        self._lay_out(self.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolves ``[F, frames, C_in]``."""
        x = x.contiguous().permute(2, 0, 1)[None]
        if self.fused:
            y = torch.ops.mkldnn._convolution_pointwise(
                x,
                self.weight,
                self.bias,
                self.padding,
                _ONE,
                _ONE,
                1,
                "relu" if self.relu else "none",
                [],
                "",
            )
        else:
            y = F.conv2d(x, self.weight, self.bias, padding=self.padding)
            y = y.relu_() if self.relu else y
        return y[0].permute(1, 2, 0)

    def add_to(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Adds the convolution of ``x`` to ``y`` before the ReLU, in place."""
        if not self.fused:
            y += F.conv2d(
                x.permute(2, 0, 1)[None],
                self.weight,
                self.bias,
                padding=self.padding,
            )[0].permute(1, 2, 0)
            return y.relu_() if self.relu else y
        torch.ops.mkldnn._convolution_pointwise_.binary(
            y.permute(2, 0, 1)[None],
            x.permute(2, 0, 1)[None],
            self.weight,
            self.bias,
            self.padding,
            _ONE,
            _ONE,
            1,
            "add",
            None,
            "relu" if self.relu else None,
            [],
            "",
        )
        return y
