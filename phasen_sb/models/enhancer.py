"""PhasenEnhancer: from noisy waveform to enhanced waveform.

The one object that recipes, inference classes and tools share. It owns front
end and network and drops into SpeechBrain's ``WaveformEnhancement``.
"""

import math
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.errors import UserError, choose
from phasen_sb.models.loading import read_model
from phasen_sb.signals.conv_stft import ConvISTFT
from phasen_sb.signals.istft import ISTFT, overlap_add
from phasen_sb.signals.level import measure_level
from phasen_sb.signals.padding import clear_padding, count_frames, count_samples
from phasen_sb.signals.running_level import (
    MEMORY_SECONDS,
    follow_level,
    measure_frame_powers,
)

RUNNING = "running"


class PhasenEnhancer(nn.Module):
    """Enhances waveforms: STFT, :class:`phasen_sb.PHASEN`, inverse STFT.

    Arguments
    ---------
    stft : torch.nn.Module
        SpeechBrain's ``STFT`` or :class:`phasen_sb.ConvSTFT`.
    istft : torch.nn.Module
        Its inverse.
    network : torch.nn.Module
        :class:`phasen_sb.PHASEN`.
    normalize : bool or str
        Divide each utterance by its RMS before the network and multiply
        after it, so that the result does not depend on the input's level.
        ``running``: divide each frame by the level of the frames up to it,
        as a causal network needs.

    Raises
    ------
    phasen_sb.errors.UserError
        If ``normalize`` is another text.

    Example
    -------
    >>> from phasen_sb import PHASEN, ConvISTFT, ConvSTFT
    >>> enhancer = PhasenEnhancer(
    ...     ConvSTFT(16000), ConvISTFT(16000), PHASEN(recurrent_units=8)
    ... ).eval()
    >>> wave, spectrogram = enhancer(torch.randn(1, 4321))
    >>> wave.shape, spectrogram.shape
    (torch.Size([1, 4321]), torch.Size([1, 44, 257, 2]))
    """

    def __init__(
        self,
        stft: nn.Module,
        istft: nn.Module,
        network: nn.Module,
        normalize: bool | str = True,
    ):
        super().__init__()
        if isinstance(normalize, str):
            choose("normalize", normalize, (RUNNING,))
        self.stft = stft
        self.istft = istft
        self.network = network
        self.normalize = normalize

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike | None = None, trust: bool = False
    ) -> "PhasenEnhancer":
        """Loads a trained enhancer, to use it in a network or to train on.

        For recordings of any rate and length see :class:`phasen_sb.Enhancer`.

        Arguments
        ---------
        source : str or path, optional
            A folder that ``phasen export`` wrote, the output folder of a
            training run, the name of a model that ships with the package, or
            one on the Hugging Face hub; by default the shipped ``default``.
        trust : bool
            Build whatever the model names, which may run any code of its
            maker's; by default only layers that ``SECURITY.md`` lists.

        Returns
        -------
        PhasenEnhancer
            On the CPU, in fp32 and in evaluation mode.

        Raises
        ------
        phasen_sb.errors.UserError
            If there is no such model, it is damaged, refused, or of another
            class.

        Example
        -------
        >>> enhancer = PhasenEnhancer.from_pretrained()
        >>> enhancer(torch.randn(1, 4321))[0].shape
        torch.Size([1, 4321])
        """
        model = read_model(source, trust)
        enhancer = model.build()
        if not isinstance(enhancer, cls):
            raise UserError(
                f"{model.source} is a {type(enhancer).__name__}, not a "
                f"{cls.__name__}; load it with phasen_sb.Enhancer."
            )
        return enhancer

    def forward(
        self, x: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Enhances a batch.

        Arguments
        ---------
        x : torch.Tensor
            Noisy waveforms ``[B, samples]``.
        lengths : torch.Tensor, optional
            Relative lengths ``[B]``. What lies past a length is ignored and
            comes out as zeros; what lies before it comes out as it does
            without padding.

        Returns
        -------
        waveform : torch.Tensor
            ``[B, samples]``, exactly as long as ``x``. Without centering in
            the front end, samples after the last whole frame are zero.
        spectrogram : torch.Tensor
            Enhanced complex spectrogram ``[B, T, F, 2]``, at the level of
            ``x``.

        Raises
        ------
        ValueError
            If ``x`` is not ``[B, samples]`` with at least one sample.
        """
        if x.dim() != 2 or x.shape[1] == 0:
            raise ValueError(
                "PhasenEnhancer takes waveforms [batch, samples] with at "
                f"least one sample, got {list(x.shape)}."
            )
        samples = x.shape[1]
        x = x.float()
        counts = None
        if lengths is not None:
            counts = count_samples(lengths.to(x.device), samples)
            x = clear_padding(x, lengths)
        gain = None
        if self.normalize is True:
            gain = measure_level(x, lengths)
            x = x / gain
        spectrogram = self._analyse(x)
        del x  # the network needs the memory
        if self.normalize == RUNNING:
            levels, _ = self.follow_level(spectrogram)
            enhanced, frames = self._enhance(spectrogram / levels, counts)
            spectrogram = enhanced * levels
        else:
            spectrogram, frames = self._enhance(spectrogram, counts)
        wave = self._synthesise(spectrogram, frames, counts, samples)
        if gain is not None:
            wave = wave * gain
            spectrogram = spectrogram * gain[:, :, None, None]
        return wave, spectrogram

    if TYPE_CHECKING:  # to PyTorch, calling a module returns Any
        __call__ = forward

    def follow_level(
        self, spectrogram: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Measures the running level, by which ``running`` divides frames.

        Arguments
        ---------
        spectrogram : torch.Tensor
            ``[B, T, F, 2]``
        state : torch.Tensor, optional
            What was returned for the frames before.

        Returns
        -------
        levels : torch.Tensor
            ``[B, T, 1, 1]``
        state : torch.Tensor
            For the next frames.
        """
        stft = self.stft
        powers = measure_frame_powers(spectrogram, stft.window)
        seconds = stft.hop_length / stft.sample_rate
        decay = math.exp(-seconds / MEMORY_SECONDS)
        levels, state = follow_level(powers, decay, state)
        return levels[:, :, None, None], state

    @property
    def latency(self) -> float | None:
        """``latency_samples`` in milliseconds."""
        samples = self.latency_samples
        return samples and 1000 * samples / self.stft.sample_rate

    @property
    def latency_samples(self) -> int | None:
        """How long a sample's output waits for later input.

        No sample of the output depends on input that comes so many samples
        after it, or later. It is the window and the look-ahead; None if the
        whole utterance is needed.
        """
        late = getattr(self.network, "lookahead_frames", 0)
        if not getattr(self.network, "causal", False) or (
            self.normalize is True
        ):
            return None
        return self.stft.win_length + late * self.stft.hop_length

    def _analyse(self, x):
        if not self.stft.center and x.shape[1] < self.stft.win_length:
            x = F.pad(x, (0, self.stft.win_length - x.shape[1]))
        return self.stft(x)

    def _enhance(self, spectrogram, counts):
        if counts is None:
            return self.network(spectrogram).spectrogram, None
        frames = count_frames(self.stft, counts)
        relative = frames / spectrogram.shape[1]
        return self.network(spectrogram, relative).spectrogram, frames

    def _synthesise(self, spectrogram, frames, counts, samples):
        if counts is None:
            return self._inverse(spectrogram, samples)
        if spectrogram.device.type != "cpu" and self._find_overlap_add():
            return self._synthesise_at_once(
                spectrogram, frames, counts, samples
            )
        # One by one: the overlap-add at an utterance's end must not count the
        # windows of frames that it does not have.
        waves = []
        lengths = zip(frames.tolist(), counts.tolist(), strict=True)
        for i, (frame, count) in enumerate(lengths):
            wave = self._inverse(spectrogram[i : i + 1, :frame], count)
            waves.append(F.pad(wave, (0, samples - count)))
        return torch.cat(waves)

    def _synthesise_at_once(self, spectrogram, frames, counts, samples):
        """The same without a loop, which would synchronise with the GPU."""
        index = torch.arange(spectrogram.shape[1], device=frames.device)
        valid = (index < frames[:, None])[..., None]
        add = self._find_overlap_add()
        with torch.autocast(spectrogram.device.type, enabled=False):
            wave = add(spectrogram.float(), samples, valid)
        index = torch.arange(samples, device=counts.device)
        return wave.masked_fill(index >= counts[:, None], 0.0)

    def _find_overlap_add(self):
        if isinstance(self.istft, (ISTFT, ConvISTFT)):
            return self.istft.overlap_add
        # Slow to import: only if SpeechBrain's can be there.
        features = sys.modules.get("speechbrain.processing.features")
        if features and type(self.istft) is features.ISTFT:
            return partial(overlap_add, self.istft)
        return None

    def _inverse(self, spectrogram, samples):
        with torch.autocast(spectrogram.device.type, enabled=False):
            return self.istft(spectrogram.float(), sig_length=samples)


def check_causal(model: nn.Module) -> None:
    """Raises UserError unless a model enhances sound that still goes on."""
    if not isinstance(model, PhasenEnhancer):
        raise UserError(
            f"The model is a {type(model).__name__}; only a PhasenEnhancer "
            "enhances streams."
        )
    if model.latency_samples is None:
        raise UserError(
            "The model needs the whole utterance; streams need one that was "
            "trained with a causal network and with normalize: running, such "
            "as hparams/phasen_live.yaml."
        )
