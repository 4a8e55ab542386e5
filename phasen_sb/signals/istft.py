"""SpeechBrain's inverse STFT, without synchronising with the GPU.

After each synchronisation a GPU is idle until it is given new work.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.signals.stft import ShortTimeFourier


class ISTFT(ShortTimeFourier):
    """SpeechBrain's ``ISTFT``, which on a GPU does not synchronise.

    ``torch.istft`` checks whether the summed windows vanish somewhere, for
    which it waits until the GPU has computed them.

    Shapes and values are SpeechBrain's. Only where the summed windows vanish,
    a CPU raises ``torch.istft``'s error and a GPU does not.

    Arguments
    ---------
    sample_rate : int
        In Hz.
    n_fft : int, optional
        Length of the FFT (samples); by default it follows from the bins.
    win_length, hop_length : float
        In ms.
    window_fn : callable
        Makes the window of so many samples.
    normalized_stft : bool
        Ignored, as SpeechBrain does.
    center : bool
        Frames are centred on multiples of the hop; else they begin there.
    onesided : bool
        The negative frequencies are left out.
    epsilon : float
        Ignored, as SpeechBrain does.

    Example
    -------
    >>> from speechbrain.processing.features import STFT
    >>> stft = STFT(16000)
    >>> x = torch.randn(2, 12345)
    >>> torch.allclose(ISTFT(16000)(stft(x), sig_length=12345), x, atol=1e-5)
    True
    """

    def __init__(
        self,
        sample_rate: int,
        n_fft: int | None = None,
        win_length: float = 25,
        hop_length: float = 10,
        window_fn: Callable[[int], torch.Tensor] = torch.hamming_window,
        normalized_stft: bool = False,
        center: bool = True,
        onesided: bool = True,
        epsilon: float = 1e-12,
    ):
        super().__init__(sample_rate, win_length, hop_length, n_fft, window_fn)
        self.center = center
        self.onesided = onesided

    def forward(
        self, x: torch.Tensor, sig_length: int | None = None
    ) -> torch.Tensor:
        """Synthesises waveforms, on a GPU by ``overlap_add``.

        Arguments
        ---------
        x : torch.Tensor
            ``[B, T, F, 2]`` or ``[B, T, F, 2, channels]``, real and imaginary
            part.
        sig_length : int, optional
            Samples to return: cut, or filled with zeros, at the end.

        Returns
        -------
        torch.Tensor
            ``[B, samples]`` or ``[B, samples, channels]``
        """
        if x.device.type == "cpu" or x.dim() != 4 or not self.onesided:
            return self._invert(x, sig_length)
        return self.overlap_add(x, sig_length)

    def _invert(self, x, sig_length):
        """By ``torch.istft``."""
        spectrogram = torch.complex(x[:, :, :, 0], x[:, :, :, 1])
        if x.dim() == 5:
            spectrogram = spectrogram.movedim(-1, 1).flatten(0, 1)
        bins = x.shape[2]
        wave = torch.istft(
            spectrogram.transpose(1, 2),
            self.n_fft or (2 * (bins - 1) if self.onesided else bins),
            self.hop_length,
            self.win_length,
            self.window.to(x.device),
            self.center,
            onesided=self.onesided,
            length=sig_length,
        )
        if x.dim() == 4:
            return wave
        return wave.unflatten(0, (x.shape[0], -1)).transpose(1, 2)

    def overlap_add(
        self,
        x: torch.Tensor,
        sig_length: int | None = None,
        valid: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Does on any device what ``forward`` does on a GPU.

        See :func:`phasen_sb.signals.istft.overlap_add`.
        """
        return overlap_add(self, x, sig_length, valid)


def overlap_add(
    istft: nn.Module,
    x: torch.Tensor,
    sig_length: int | None = None,
    valid: torch.Tensor | None = None,
) -> torch.Tensor:
    """Synthesises waveforms as SpeechBrain's ``ISTFT`` does, on any device.

    Arguments
    ---------
    istft : torch.nn.Module
        SpeechBrain's ``ISTFT`` or the one above, one-sided.
    x : torch.Tensor
        ``[B, T, F, 2]``, real and imaginary part.
    sig_length : int, optional
        Samples to return: cut, or filled with zeros, at the end.
    valid : torch.Tensor, optional
        ``[B, T, 1]``, True on the frames that an utterance has. Neither the
        others nor their windows are added.

    Returns
    -------
    torch.Tensor
        ``[B, samples]``

    Raises
    ------
    ValueError
        If ``n_fft`` does not match the bins, or is shorter than the window.

    Example
    -------
    >>> from speechbrain.processing.features import ISTFT, STFT
    >>> stft, istft = STFT(16000), ISTFT(16000)
    >>> x = torch.randn(2, 12345)
    >>> torch.allclose(overlap_add(istft, stft(x), 12345), x, atol=1e-5)
    True
    """
    n_fft = istft.n_fft or 2 * (x.shape[2] - 1)
    if x.shape[2] != n_fft // 2 + 1 or istft.win_length > n_fft:
        raise ValueError(
            f"n_fft is {n_fft}; it must be {2 * (x.shape[2] - 1)} for the "
            f"{x.shape[2]} bins of the spectrogram, and at least as long "
            f"as the window, {istft.win_length}."
        )
    left = (n_fft - istft.win_length) // 2
    right = n_fft - istft.win_length - left
    window = F.pad(istft.window.to(x.device), (left, right))
    frames = torch.fft.irfft(torch.complex(x[..., 0], x[..., 1]), n_fft)
    squares = window.square().expand(1, x.shape[1], n_fft)
    if valid is not None:
        frames = frames.masked_fill(~valid, 0.0)
        squares = squares * valid
    length = n_fft + (x.shape[1] - 1) * istft.hop_length
    wave, envelope = (
        F.fold(
            values.transpose(1, 2),
            output_size=(1, length),
            kernel_size=(1, n_fft),
            stride=(1, istft.hop_length),
        )[:, 0, 0]
        for values in (frames * window, squares)
    )
    margin = n_fft // 2 if istft.center else 0
    inside = slice(margin, length - margin)
    if sig_length is not None:
        inside = slice(margin, margin + sig_length)
    # torch.istft refuses to divide by less.
    wave = wave[:, inside] / envelope[:, inside].clamp(min=1e-11)
    if sig_length is None:
        return wave
    return F.pad(wave, (0, sig_length - wave.shape[1]))


def synthesise_frames(
    istft: nn.Module, spectrogram: torch.Tensor
) -> torch.Tensor:
    """Computes the windowed frames that an inverse STFT overlaps and adds.

    ``[B, T, F, 2]`` becomes ``[B, T, win_length]``.
    """
    n_fft = 2 * (spectrogram.shape[2] - 1)
    left = (n_fft - istft.win_length) // 2
    frames = torch.fft.irfft(
        torch.complex(spectrogram[..., 0], spectrogram[..., 1]), n_fft
    )
    frames = frames[..., left : left + istft.win_length]
    return frames * istft.window.to(frames.device)
