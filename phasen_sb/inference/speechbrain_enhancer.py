"""Enhancer: the enhancer of waveforms and files as a class of SpeechBrain."""

from typing import Any

import numpy as np
import torch
from speechbrain.dataio.preprocess import AudioNormalizer
from speechbrain.inference.enhancement import WaveformEnhancement

from phasen_sb.inference.enhancer import FileEnhancer
from phasen_sb.models.enhancer import RUNNING, PhasenEnhancer
from phasen_sb.signals.level import measure_level


class Enhancer(FileEnhancer, WaveformEnhancement):
    """Removes noise from the speech in waveforms and audio files.

    Of any sample rate, any number of channels (each enhanced by itself) and
    any length, in constant memory; rate, channels, level and length are kept.
    :meth:`from_pretrained` loads one. ``enhance_batch``, inherited from
    SpeechBrain's ``WaveformEnhancement``, enhances a batch at the model's rate
    as a whole.

    Arguments
    ---------
    *args, **kwargs
        Of ``WaveformEnhancement``: ``modules`` with the ``enhance_model``,
        ``hparams`` with its ``sample_rate`` (Hz) and, optionally, several
        ``devices`` that share the work, ``run_opts`` with ``device`` (the first
        of them) and ``precision``.

    Example
    -------
    >>> from phasen_sb import PHASEN, ConvISTFT, ConvSTFT
    >>> network = PHASEN(recurrent_units=8, dense_units=8)
    >>> model = PhasenEnhancer(ConvSTFT(16000), ConvISTFT(16000), network)
    >>> enhancer = Enhancer({"enhance_model": model}, {"sample_rate": 16000})
    >>> enhancer.enhance(np.random.randn(2, 1234), 44100).shape
    (2, 1234)
    """

    HPARAMS_NEEDED = ["sample_rate"]
    MODULES_NEEDED = ["enhance_model"]

    def __init__(self, *args: Any, **kwargs: Any):
        WaveformEnhancement.__init__(self, *args, **kwargs)
        FileEnhancer.__init__(
            self,
            self.mods.enhance_model,
            self.hparams.sample_rate,
            getattr(self.hparams, "devices", (self.device,)),
            self.precision,
        )

    @classmethod
    def _of_model(cls, model, sample_rate, devices, precision):
        return cls(
            {"enhance_model": model},
            {
                "sample_rate": sample_rate,
                "devices": devices,
                "audio_normalizer": AudioNormalizer(sample_rate),
            },
            {"device": devices[0], "precision": precision},
        )

    def mask(self, wave: np.ndarray) -> np.ndarray | None:
        """Computes the mask that the network estimates for a waveform.

        Arguments
        ---------
        wave : np.ndarray
            ``[samples]`` at the model's sample rate.

        Returns
        -------
        np.ndarray or None
            Magnitude ``[frames, bins]``; None if the model has no mask.
        """
        model = self.mods.enhance_model
        if not isinstance(model, PhasenEnhancer):
            return None
        x = torch.from_numpy(wave.astype(np.float32))[None].to(self.device)
        with torch.inference_mode():
            if model.normalize is True:
                x = x / measure_level(x)
            spectrogram = model.stft(x)
            if model.normalize == RUNNING:
                spectrogram = spectrogram / model.follow_level(spectrogram)[0]
            mask = model.network(spectrogram).mask[0]
        if mask.dim() == 3:  # complex
            mask = mask.square().sum(-1).sqrt()
        return mask.float().cpu().numpy()
