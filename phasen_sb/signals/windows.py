"""Windows of the STFT, and the device that they are on."""

import torch
from torch import nn


def sqrt_hann_window(window_length: int) -> torch.Tensor:
    """Makes the square root of a periodic Hann window.

    Used at analysis and synthesis, the product of both is the Hann window.

    Arguments
    ---------
    window_length : int
        Samples.

    Returns
    -------
    torch.Tensor
        ``[window_length]``

    Example
    -------
    >>> sqrt_hann_window(4)
    tensor([0.0000, 0.7071, 1.0000, 0.7071])
    """
    # float64, so that float32 rounding does not show in the kernels.
    window = torch.hann_window(window_length, dtype=torch.float64)
    return window.sqrt().float()


def move_windows(module: nn.Module, device: torch.device | str) -> None:
    """Moves the windows of SpeechBrain's STFTs to a device.

    They are not buffers, so ``module.to(device)`` leaves them where they are,
    and each call copies them, which synchronises with the GPU.

    Arguments
    ---------
    module : torch.nn.Module
        An STFT, or a module that has some.
    device : torch.device
        The device.

    Example
    -------
    >>> from speechbrain.processing.features import STFT
    >>> stft = STFT(16000)
    >>> move_windows(stft, "meta")
    >>> stft.window.device
    device(type='meta')
    """
    for part in module.modules():
        window = vars(part).get("window")
        if isinstance(window, torch.Tensor):
            part.window = window.to(device)
