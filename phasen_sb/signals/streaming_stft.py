"""STFT and inverse STFT of signals that come block by block.

They take the front end of an enhancer, which must be centred, and give what it
gives of the whole signal.
"""

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.errors import UserError
from phasen_sb.signals.conv_stft import ConvISTFT
from phasen_sb.signals.istft import synthesise_frames


class StreamingSTFT:
    """Analyses signals block by block.

    Arguments
    ---------
    stft : torch.nn.Module
        SpeechBrain's ``STFT`` or :class:`phasen_sb.ConvSTFT`, centred.

    Raises
    ------
    phasen_sb.errors.UserError
        If the STFT is not centred.

    Example
    -------
    >>> from phasen_sb import ConvSTFT
    >>> stft, x = ConvSTFT(16000), torch.randn(1, 1234)
    >>> stream = StreamingSTFT(stft)
    >>> frames = [stream.process(part) for part in x.split(50, 1)]
    >>> frames = torch.cat([*frames, stream.finish()], 1)
    >>> torch.allclose(frames, stft(x), atol=1e-5)
    True
    """

    def __init__(self, stft: nn.Module):
        if not stft.center:
            raise UserError(
                "The STFT is not centred, which streams need; set its center "
                "to True."
            )
        self._stft = stft
        #: Samples of a frame's window before its centre, and from there on.
        self.before = stft.n_fft // 2 - (stft.n_fft - stft.win_length) // 2
        self.after = stft.win_length - self.before
        self._rest: torch.Tensor | None = None
        self._samples = 0
        self._frames = 0

    def process(self, x: torch.Tensor) -> torch.Tensor:
        """Takes the next ``[B, samples]``; returns the next ``[B, T, F, 2]``.

        T may be 0.
        """
        self._samples += x.shape[1]
        return self._analyse(x)

    def finish(self) -> torch.Tensor:
        """Returns the frames that the signal's end is in."""
        if self._rest is None:
            raise UserError("There is no signal yet; process a block first.")
        count = self._samples // self._stft.hop_length + 1 - self._frames
        silence = self._rest.new_zeros(
            len(self._rest), self._stft.hop_length + self.after
        )
        return self._analyse(silence)[:, :count]

    def _analyse(self, x):
        if self._rest is None:
            self._rest = x.new_zeros(len(x), self.before)
        x = torch.cat([self._rest, x], 1)
        hop, length = self._stft.hop_length, self._stft.win_length
        count = max(0, (x.shape[1] - length) // hop + 1)
        self._rest = x[:, count * hop :].clone()
        self._frames += count
        if not count:
            return x.new_zeros(len(x), 0, self._stft.n_fft // 2 + 1, 2)
        # The STFT centres its first frame on the first sample: further frames
        # come before and after those that are wanted.
        first = -(-self.before // hop)
        x = x[:, : (count - 1) * hop + length]
        x = F.pad(x, (first * hop - self.before, 0))
        return self._stft(x)[:, first : first + count]


class StreamingISTFT:
    """Synthesises signals frame by frame.

    What comes first are the ``before`` samples of
    :class:`phasen_sb.signals.streaming_stft.StreamingSTFT`, which lie before
    the signal's beginning.

    Arguments
    ---------
    istft : torch.nn.Module
        :class:`phasen_sb.ISTFT`, SpeechBrain's or
        :class:`phasen_sb.ConvISTFT`.

    Example
    -------
    >>> from phasen_sb import ConvISTFT, ConvSTFT
    >>> stft, istft = ConvSTFT(16000), ConvISTFT(16000)
    >>> x, stream = torch.randn(1, 1234), StreamingISTFT(istft)
    >>> parts = [stream.process(part) for part in stft(x).split(3, 1)]
    >>> wave = torch.cat([*parts, stream.finish()], 1)[:, 200:1434]
    >>> torch.allclose(wave, x, atol=1e-4)
    True
    """

    def __init__(self, istft: nn.Module):
        self._istft = istft
        self._tail: torch.Tensor | None = None

    def process(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Takes ``[B, T, F, 2]``, returns ``[B, T * hop_length]``."""
        batch, count = spectrogram.shape[:2]
        if not count:
            return spectrogram.new_zeros(batch, 0)
        frames = self.synthesise(spectrogram)
        squares = self._istft.window.to(frames.device).square()
        # The windows are added up beside the signals that they weigh.
        frames = torch.cat([frames, squares.expand(1, count, -1)])
        hop, length = self._istft.hop_length, frames.shape[2]
        added = F.fold(
            frames.transpose(1, 2),
            output_size=(1, (count - 1) * hop + length),
            kernel_size=(1, length),
            stride=(1, hop),
        )[:, 0, 0]
        if self._tail is not None:
            added[:, : self._tail.shape[1]] += self._tail
        self._tail = added[:, count * hop :].clone()
        return _divide(added[:, : count * hop])

    def synthesise(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Computes the windowed frames that are then overlapped and added.

        ``[B, T, F, 2]`` becomes ``[B, T, win_length]``.
        """
        if isinstance(self._istft, ConvISTFT):
            return self._istft.synthesise_frames(spectrogram)
        return synthesise_frames(self._istft, spectrogram)

    def finish(self) -> torch.Tensor:
        """Returns what the last frames reach beyond the hop."""
        if self._tail is None:
            raise UserError("There is no signal yet; process a frame first.")
        return _divide(self._tail)


def _divide(added):
    return added[:-1] / added[-1:].clamp(min=1e-11)
