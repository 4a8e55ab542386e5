"""The STFT and its inverse as convolutions, whose kernels can be trained.

They take the arguments and give the shapes of SpeechBrain's ``STFT`` and
:class:`phasen_sb.ISTFT`, the default front end: one YAML line swaps them in.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.errors import choose
from phasen_sb.signals.windows import sqrt_hann_window


class _ConvFourier(nn.Module):
    """The geometry, window and kernel of both."""

    def __init__(
        self,
        sample_rate: int,
        win_length: float = 25,
        hop_length: float = 6.25,
        n_fft: int = 512,
        window_fn: Callable[[int], torch.Tensor] = sqrt_hann_window,
        center: bool = True,
        trainable: bool = False,
    ):
        super().__init__()
        self.sample_rate = sample_rate
        self.win_length = round(sample_rate / 1000 * win_length)
        self.hop_length = round(sample_rate / 1000 * hop_length)
        self.n_fft = n_fft
        self.center = center
        self.trainable = trainable
        if n_fft % 2:
            raise ValueError(f"n_fft is {n_fft}; it must be even.")
        if not 0 < self.hop_length <= self.win_length <= n_fft:
            raise ValueError(
                f"hop_length ({self.hop_length} samples) must not exceed "
                f"win_length ({self.win_length}), nor that n_fft ({n_fft})."
            )
        # torch.stft centres a short window in the FFT frame; without
        # centering the reference code starts both together.
        self._offset = (n_fft - self.win_length) // 2 if center else 0
        self._pad_left = n_fft // 2 - self._offset if center else 0
        self._pad_right = self.win_length - self._pad_left if center else 0
        self.register_buffer(
            "window", window_fn(self.win_length).float(), persistent=False
        )
        kernel = torch.empty(2 * (n_fft // 2 + 1), 1, self.win_length)
        if trainable:
            self.weight = nn.Parameter(kernel)
        else:
            self.register_buffer("weight", kernel)
        self.reset_parameters()

    def _fourier_basis(self) -> torch.Tensor:
        """``[2F, win_length]``, real rows then imaginary rows, float64."""
        basis = torch.fft.rfft(torch.eye(self.n_fft, dtype=torch.float64))
        basis = basis[self._offset : self._offset + self.win_length]
        return torch.cat([basis.real, basis.imag], dim=1).T

    def _set_kernel(self, basis: torch.Tensor) -> None:
        with torch.no_grad():
            kernel = basis * self.window.double().to(basis.device)
            self.weight.copy_(kernel.unsqueeze(1))


class ConvSTFT(_ConvFourier):
    """STFT as a convolution with windowed Fourier kernels.

    Takes the arguments and gives the shapes of
    ``speechbrain.processing.features.STFT`` and, untrained, its values.

    Arguments
    ---------
    sample_rate : int
        Sample rate (Hz).
    win_length : float
        Window (ms).
    hop_length : float
        Hop (ms).
    n_fft : int
        FFT size (samples).
    window_fn : callable
        Makes a window, ``[samples]``, of a number of samples.
    center : bool
        True: frame t is centred at sample t * hop, zeros pad the ends. False:
        no padding, T = (samples - window) // hop + 1 frames.
    trainable : bool
        Make the kernels parameters.

    Raises
    ------
    ValueError
        If ``n_fft`` is odd, or the hop longer than the window or the window
        than ``n_fft``.

    Example
    -------
    >>> stft = ConvSTFT(16000, win_length=25, hop_length=6.25, n_fft=512)
    >>> stft(torch.randn(2, 16000)).shape
    torch.Size([2, 161, 257, 2])
    """

    def reset_parameters(self) -> None:
        """Sets the kernels to the windowed Fourier basis."""
        self._set_kernel(self._fourier_basis())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Analyses waveforms, in fp32 also under autocast.

        Arguments
        ---------
        x : torch.Tensor
            ``[B, samples]``

        Returns
        -------
        torch.Tensor
            ``[B, T, F, 2]``, real and imaginary part.
        """
        with torch.autocast(x.device.type, enabled=False):
            x = F.pad(x.float(), (self._pad_left, self._pad_right))
            x = F.conv1d(x.unsqueeze(1), self.weight, stride=self.hop_length)
        real, imag = x.transpose(1, 2).chunk(2, dim=2)
        return torch.stack([real, imag], dim=3)

    if TYPE_CHECKING:  # to PyTorch, calling a module returns Any
        __call__ = forward


class ConvISTFT(_ConvFourier):
    """Inverse STFT as a transposed convolution.

    Takes the arguments and gives the shapes of
    ``speechbrain.processing.features.ISTFT`` and, untrained, its values:
    windowed overlap-add, divided by the summed squared window.

    Arguments
    ---------
    sample_rate : int
        Sample rate (Hz).
    win_length : float
        Window (ms).
    hop_length : float
        Hop (ms).
    n_fft : int
        FFT size (samples).
    window_fn : callable
        Makes a window, ``[samples]``, of a number of samples.
    center : bool
        As in :class:`phasen_sb.ConvSTFT`.
    trainable : bool
        Make the kernels parameters.
    synthesis : str
        ``inverse_fft``: the real part of the inverse FFT;
        ``pseudo_inverse``: least squares over the analysis kernels, as the
        public reference code does. Both undo an untouched spectrogram.
    epsilon : float
        Added to the summed squared window.

    Raises
    ------
    ValueError
        As :class:`phasen_sb.ConvSTFT`, and if ``synthesis`` is unknown.

    Example
    -------
    >>> stft = ConvSTFT(16000, win_length=25, hop_length=6.25, n_fft=512)
    >>> istft = ConvISTFT(16000, win_length=25, hop_length=6.25, n_fft=512)
    >>> x = torch.randn(2, 12345)
    >>> torch.allclose(istft(stft(x), sig_length=12345), x, atol=1e-5)
    True
    """

    SYNTHESES = ("inverse_fft", "pseudo_inverse")

    def __init__(
        self,
        sample_rate: int,
        *args,
        synthesis: str = "inverse_fft",
        epsilon: float = 1e-8,
        **kwargs,
    ):
        choose("synthesis", synthesis, self.SYNTHESES)
        # Read by reset_parameters, which the base class calls.
        object.__setattr__(self, "_synthesis", synthesis)
        super().__init__(sample_rate, *args, **kwargs)
        self.epsilon = epsilon

    def reset_parameters(self) -> None:
        """Sets the kernels to the windowed inverse basis."""
        basis = self._fourier_basis()
        if self._synthesis == "pseudo_inverse":
            self._set_kernel(torch.linalg.pinv(basis).T)
            return
        # All bins but the first and the last stand for two of the full FFT.
        weight = torch.full((self.n_fft // 2 + 1,), 2.0, dtype=torch.float64)
        weight[0] = weight[-1] = 1.0
        weight = weight.repeat(2).unsqueeze(1) / self.n_fft
        self._set_kernel(basis * weight)

    def forward(
        self, x: torch.Tensor, sig_length: int | None = None
    ) -> torch.Tensor:
        """Synthesises waveforms, in fp32 also under autocast.

        Arguments
        ---------
        x : torch.Tensor
            ``[B, T, F, 2]``, real and imaginary part.
        sig_length : int, optional
            Samples to return: cut, or filled with zeros, at the end.

        Returns
        -------
        torch.Tensor
            ``[B, samples]``
        """
        return self.overlap_add(x, sig_length)

    def overlap_add(
        self,
        x: torch.Tensor,
        sig_length: int | None = None,
        valid: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Does what ``forward`` does, for utterances of different lengths.

        Of ``valid`` (``[B, T, 1]``), True are the frames that an utterance
        has. Neither the others nor their windows are added.
        """
        with torch.autocast(x.device.type, enabled=False):
            square = self.window.square()[None, None]
            ones = square.new_ones(1, 1, x.shape[1])
            if valid is not None:
                x = x.masked_fill(~valid[..., None], 0.0)
                ones = valid.transpose(1, 2).to(square.dtype)
            x = torch.cat(x.float().unbind(-1), dim=2).transpose(1, 2)
            wave = F.conv_transpose1d(x, self.weight, stride=self.hop_length)
            envelope = F.conv_transpose1d(ones, square, stride=self.hop_length)
            wave = (wave / (envelope + self.epsilon)).squeeze(1)
        wave = wave[:, self._pad_left :]
        if sig_length is None:
            return wave[:, : wave.shape[1] - self._pad_right]
        return F.pad(wave, (0, sig_length - wave.shape[1]))

    def synthesise_frames(self, x: torch.Tensor) -> torch.Tensor:
        """Computes the windowed frames that ``forward`` overlaps and adds.

        ``[B, T, F, 2]`` becomes ``[B, T, win_length]``.
        """
        return torch.cat(x.unbind(-1), dim=2) @ self.weight[:, 0]

    if TYPE_CHECKING:  # to PyTorch, calling a module returns Any
        __call__ = forward
