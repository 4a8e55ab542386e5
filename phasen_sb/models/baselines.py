"""SpeechBrain's other models in PHASEN's place, under the same protocol.

``recipes/train.py`` trains whatever stands under ``enhancer`` (waveform to
waveform) or ``network`` (spectrogram to spectrogram). The two classes here
bring SpeechBrain's models into these shapes; ``hparams/baselines`` uses them.
"""

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.errors import UserError
from phasen_sb.network.output import PhasenOutput
from phasen_sb.signals.level import measure_level
from phasen_sb.signals.padding import (
    clear_padded_frames,
    clear_padding,
    mark_valid_frames,
)
from phasen_sb.signals.spectra import magnitude, unit_phase


class LogMagnitudeNetwork(nn.Module):
    """A mask model on ``log1p|X|`` as the network of a ``PhasenEnhancer``.

    The mask multiplies the log magnitude, as in SpeechBrain's spectral_mask
    recipe; the phase stays the noisy one.

    Arguments
    ---------
    model : torch.nn.Module
        Maps ``[B, T, F]`` to a mask of that shape, such as SpeechBrain's
        ``CNNTransformerSE``.

    Example
    -------
    >>> class Half(nn.Module):
    ...     def forward(self, features):
    ...         return torch.full_like(features, 0.5)
    >>> z = torch.tensor([[[[0.0, 3.0]]]])  # 3i: log1p is 2 log 2
    >>> LogMagnitudeNetwork(Half())(z).spectrogram
    tensor([[[[0., 1.]]]])
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(
        self, spectrogram: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> PhasenOutput:
        """Enhances ``[B, T, F, 2]``; padded frames come out zero."""
        features = torch.log1p(magnitude(spectrogram))
        factor = self.model(features).float()
        enhanced = torch.expm1(factor * features)
        phase = unit_phase(spectrogram)
        found = enhanced.unsqueeze(-1) * phase
        valid = mark_valid_frames(lengths, found.shape[1], found.device)
        if valid is not None:
            found = clear_padded_frames(found, valid.transpose(1, 2))
        mask = enhanced / magnitude(spectrogram)
        return PhasenOutput(found, mask, phase)


class WaveformModel(nn.Module):
    """A model from waveform to waveform as the enhancer of the recipe.

    Arguments
    ---------
    network : torch.nn.Module
        Maps ``[B, samples]`` to ``[B, samples]`` or ``[B, samples, 1]``, or
        to a tuple that begins so. An output that is a little longer or
        shorter than the input is cut or padded.
    normalize : bool
        Divide each utterance by its RMS before the network and multiply
        after it, as :class:`phasen_sb.PhasenEnhancer` does.
    padding : int
        Zeros to append before the network, for models that lose the end.

    Example
    -------
    >>> from speechbrain.lobes.models.EnhanceResnet import EnhanceResnet
    >>> resnet = EnhanceResnet(channel_counts=[4, 4], dense_nodes=8)
    >>> wave, _ = WaveformModel(resnet, padding=256)(torch.randn(2, 4321))
    >>> wave.shape
    torch.Size([2, 4321])
    """

    def __init__(
        self, network: nn.Module, normalize: bool = True, padding: int = 0
    ):
        super().__init__()
        self.network = network
        self.normalize = normalize
        self.padding = padding

    def forward(
        self, x: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, None]:
        """Enhances a batch.

        Arguments
        ---------
        x : torch.Tensor
            Noisy waveforms ``[B, samples]``.
        lengths : torch.Tensor, optional
            Relative lengths ``[B]``. What lies past a length is zeroed before
            and after the network, which sees it as silence.

        Returns
        -------
        waveform : torch.Tensor
            ``[B, samples]``, exactly as long as ``x``.
        spectrogram : None
            The loss analyses the waveform.

        Raises
        ------
        phasen_sb.errors.UserError
            If the network gives anything but one waveform for each.
        """
        samples = x.shape[1]
        x = clear_padding(x.float(), lengths)
        gain = measure_level(x, lengths) if self.normalize else 1.0
        wave = self.network(F.pad(x / gain, (0, self.padding)))
        if isinstance(wave, tuple):
            wave = wave[0]
        if wave.ndim == 3 and wave.shape[2] == 1:
            wave = wave.squeeze(2)
        if wave.ndim != 2 or len(wave) != len(x):
            raise UserError(
                "The network of a WaveformModel must give [batch, samples] or "
                f"[batch, samples, 1], here {len(x)} waveforms, but gave "
                f"{list(wave.shape)}; a model that separates must have one "
                "output, as with masknet_numspks: 1."
            )
        wave = wave.float()
        wave = F.pad(wave, (0, samples - wave.shape[1])) * gain
        return clear_padding(wave, lengths), None
