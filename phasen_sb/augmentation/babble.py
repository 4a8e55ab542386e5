"""The noise of the other voices of a batch."""

import torch
from speechbrain.processing.signal_processing import dB_to_amplitude

from phasen_sb.augmentation.drawing import draw_uniform, is_on_host
from phasen_sb.augmentation.effect import Effect
from phasen_sb.augmentation.reverberation import Reverberation
from phasen_sb.augmentation.synthesis import draw_log_uniform, set_energy

DISTANCE_DB = 12.0  #: level of the farthest voice below the nearest one
FAR_SHARE = 0.7  #: of the voices that are heard through a room


class Babble(Effect):
    """Replaces noises by the other voices of the batch.

    Each voice is at its own distance and speaks from a moment of its own on; a
    batch of few utterances has each voice several times. No utterance is in
    its own babble. One of the ``noise_effects`` of :class:`phasen_sb.Remix`,
    which applies it when it is known whose noise is whose.

    Arguments
    ---------
    probability : float
        Share of the noises.
    sample_rate : int
        Of the signals (Hz).
    voices_low, voices_high : int
        Range of the number of voices, drawn evenly on a logarithmic scale.

    Example
    -------
    >>> speech = torch.tensor([[1.0], [0.0]]).expand(2, 16000)
    >>> noise = torch.zeros(2, 16000)
    >>> generator = torch.Generator().manual_seed(0)
    >>> babble = Babble(1).replace(noise, speech, generator)
    >>> babble[0].any(), babble[1].any()
    (tensor(False), tensor(True))
    """

    def __init__(
        self,
        probability: float,
        sample_rate: int = 16000,
        voices_low: int = 2,
        voices_high: int = 30,
    ):
        super().__init__(probability)
        if not 1 <= voices_low <= voices_high:
            raise ValueError(
                f"voices_low ({voices_low}) must be 1 to voices_high "
                f"({voices_high})."
            )
        self.voices = (voices_low, voices_high)
        self.room = Reverberation(1, sample_rate, direct_low=-6, direct_high=3)

    def replace(
        self,
        noise: torch.Tensor,
        speech: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Replaces some of the noises.

        Arguments
        ---------
        noise : torch.Tensor
            Of each utterance, ``[B, samples]``.
        speech : torch.Tensor
            ``[B, samples]``
        generator : torch.Generator
            As for all effects.

        Returns
        -------
        torch.Tensor
            ``[B, samples]``
        """
        count, samples = speech.shape
        if not self.probability or count == 1:
            return noise
        chosen = draw_uniform((0, 1), generator, count, 1) < self.probability
        if is_on_host(generator) and not chosen.any():
            return noise
        values = self.draw(count, samples, generator)
        values = [value.to(speech.device) for value in values]
        babble = self.change(speech, *values)
        return torch.where(chosen.to(speech.device), babble, noise)

    def draw(
        self, count: int, samples: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Draws whose voices, from where on, how loud, and the room."""
        low, high = self.voices
        # Up to 1 more, so that the highest number is as likely as the others.
        number = draw_log_uniform((low, high + 1), generator, count, 1).floor()
        level = draw_uniform((-DISTANCE_DB, 0), generator, count, high)
        voice = torch.arange(high, device=number.device)
        return (
            draw_uniform((0, 1), generator, count, high),
            draw_uniform((0, samples), generator, count, high).long(),
            dB_to_amplitude(level) * (voice < number),
            draw_uniform((0, 1), generator, count, high) < FAR_SHARE,
            *self.room.draw(count, samples, generator),
        )

    def change(
        self,
        signals: torch.Tensor,
        others: torch.Tensor,
        starts: torch.Tensor,
        gains: torch.Tensor,
        far: torch.Tensor,
        *room: torch.Tensor,
    ) -> torch.Tensor:
        """Makes babble for each utterance, of mean square 1."""
        count, samples = signals.shape
        rows = torch.arange(count, device=signals.device).unsqueeze(1)
        others = 1 + (others * (count - 1)).long().clamp(max=count - 2)
        others = (rows + others) % count
        time = torch.arange(samples, device=signals.device)
        signals = set_energy(signals)
        near_sum, far_sum = torch.zeros_like(signals), 0
        for voice in range(self.voices[1]):
            moments = (starts[:, voice, None] + time) % samples
            one = signals[others[:, voice]].gather(1, moments)
            one = gains[:, voice, None].to(signals) * one
            is_far = far[:, voice, None]
            near_sum = near_sum + torch.where(is_far, 0.0, one)
            far_sum = far_sum + torch.where(is_far, one, 0.0)
        return set_energy(near_sum + self.room.change(far_sum, *room))
