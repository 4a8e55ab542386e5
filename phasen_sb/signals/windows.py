"""Windows of the STFT, and where they live."""

import torch
from speechbrain.processing import features
from torch import nn


def sqrt_hann_window(window_length: int) -> torch.Tensor:
    """Square root of a periodic Hann window.

    Used at analysis and synthesis, the product of both is the Hann window.

    Example
    -------
    >>> sqrt_hann_window(4)
    tensor([0.0000, 0.7071, 1.0000, 0.7071])
    """
    # float64, so that float32 rounding does not show in the kernels.
    window = torch.hann_window(window_length, dtype=torch.float64)
    return window.sqrt().float()


def move_windows(module: nn.Module, device: torch.device | str) -> None:
    """Takes windows of SpeechBrain's STFTs along to a device.

    They are no buffers: each call would copy them, for which a GPU is waited
    for.

    Arguments
    ---------
    module : torch.nn.Module
        What holds the STFTs, or is one.
    device : torch.device
        Where to.

    Example
    -------
    >>> stft = features.STFT(16000)
    >>> move_windows(stft, "meta")
    >>> stft.window.device
    device(type='meta')
    """
    for part in module.modules():
        if isinstance(part, (features.STFT, features.ISTFT)):
            part.window = part.window.to(device)
