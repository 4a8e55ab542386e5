"""SpeechBrain's STFT, without SpeechBrain.

Importing SpeechBrain takes longer than enhancing a short recording. Loaded
models get this STFT in its place.
"""

from collections.abc import Callable

import torch
from torch import nn


class ShortTimeFourier(nn.Module):
    """Sizes (samples) and window of SpeechBrain's STFT and of its inverse."""

    def __init__(
        self,
        sample_rate: int,
        win_length: float,
        hop_length: float,
        n_fft: int | None,
        window_fn: Callable[[int], torch.Tensor],
    ):
        super().__init__()
        self.sample_rate = sample_rate
        self.win_length = round(sample_rate / 1000 * win_length)
        self.hop_length = round(sample_rate / 1000 * hop_length)
        self.n_fft = n_fft
        self.window = window_fn(self.win_length)


class STFT(ShortTimeFourier):
    """Computes what ``speechbrain.processing.features.STFT`` does.

    Arguments
    ---------
    sample_rate : int
        In Hz.
    win_length, hop_length : float
        In ms.
    n_fft : int
        Length of the FFT (samples).
    window_fn : callable
        Makes the window of so many samples.
    normalized_stft : bool
        Divide by the square root of ``n_fft``.
    center : bool
        Frames are centred on multiples of the hop; else they begin there.
    pad_mode : str
        How a signal is padded so that they are; see ``torch.stft``.
    onesided : bool
        Leave out the negative frequencies.

    Example
    -------
    >>> STFT(16000)(torch.randn(1, 1600)).shape
    torch.Size([1, 11, 201, 2])
    """

    def __init__(
        self,
        sample_rate: int,
        win_length: float = 25,
        hop_length: float = 10,
        n_fft: int = 400,
        window_fn: Callable[[int], torch.Tensor] = torch.hamming_window,
        normalized_stft: bool = False,
        center: bool = True,
        pad_mode: str = "constant",
        onesided: bool = True,
    ):
        super().__init__(sample_rate, win_length, hop_length, n_fft, window_fn)
        self.normalized_stft = normalized_stft
        self.center = center
        self.pad_mode = pad_mode
        self.onesided = onesided

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Analyses waveforms.

        Arguments
        ---------
        x : torch.Tensor
            ``[B, samples]`` or ``[B, samples, channels]``.

        Returns
        -------
        torch.Tensor
            ``[B, T, F, 2]`` or ``[B, T, F, 2, channels]``
        """
        waves = x if x.dim() == 2 else x.transpose(1, 2).flatten(0, 1)
        spectrogram = torch.stft(
            waves,
            self.n_fft,
            self.hop_length,
            self.win_length,
            self.window.to(x.device),
            self.center,
            self.pad_mode,
            self.normalized_stft,
            self.onesided,
            return_complex=True,
        )
        spectrogram = torch.view_as_real(spectrogram).transpose(1, 2)
        if x.dim() == 2:
            return spectrogram
        return spectrogram.unflatten(0, (x.shape[0], -1)).movedim(1, -1)
