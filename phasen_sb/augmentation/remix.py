"""New mixtures of the speech and the noises of a batch."""

from collections.abc import Sequence

import torch
from speechbrain.processing.signal_processing import dB_to_amplitude

from phasen_sb.augmentation.effects import Effect
from phasen_sb.signals.padding import clear_padding
from phasen_sb.utils.seeding import seeded_generator


class Remix:
    """Gives the utterances each other's noises, at random SNRs.

    The noise of a pair is noisy minus clean. Shuffling the noises of a batch
    makes many mixtures of few recordings. A pair without noise (its noisy file
    is the clean one) gets that of another, too; a batch without any noise is
    not changed. Source: Defossez et al., "Real Time Speech Enhancement in the
    Waveform Domain", 2020, who keep the noises' levels.

    Arguments
    ---------
    snr_low : float
        Lowest signal-to-noise ratio (dB).
    snr_high : float
        Highest signal-to-noise ratio (dB).
    probability : float
        Share of the batches that are remixed; 0 switches remixing off.
    second_probability : float
        Share of the utterances that get a second noise, 0 to 12 dB softer, if
        at least two pairs have one.
    clean_probability : float
        Share of the utterances that get no noise, so that the model learns to
        leave clean speech as it is.
    speech_effects : sequence of Effect
        Change the speech, and with it the target, before mixing.
    noise_effects : sequence of Effect
        Change the noises before mixing.

    Raises
    ------
    ValueError
        If ``snr_low`` exceeds ``snr_high``, or a share is not from 0 to 1.

    Example
    -------
    >>> clean = torch.randn(4, 16000)
    >>> noisy, same = Remix(0, 0)(clean + torch.randn(4, 16000), clean, "1")
    >>> same is clean
    True
    >>> ((noisy - clean).square().mean() / clean.square().mean()).round()
    tensor(1.)
    """

    def __init__(
        self,
        snr_low: float,
        snr_high: float,
        probability: float = 1.0,
        second_probability: float = 0.0,
        clean_probability: float = 0.0,
        speech_effects: Sequence[Effect] = (),
        noise_effects: Sequence[Effect] = (),
    ):
        if snr_low > snr_high:
            raise ValueError(
                f"snr_low ({snr_low}) must not exceed snr_high ({snr_high})."
            )
        for name, share in (
            ("probability", probability),
            ("second_probability", second_probability),
            ("clean_probability", clean_probability),
        ):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} ({share}) must be 0 to 1.")
        self.snr_low = snr_low
        self.snr_high = snr_high
        self.probability = probability
        self.second_probability = second_probability
        self.clean_probability = clean_probability
        self.speech_effects = list(speech_effects)
        self.noise_effects = list(noise_effects)

    def __call__(
        self,
        noisy: torch.Tensor,
        clean: torch.Tensor,
        seed: str,
        lengths: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Remixes a batch.

        Arguments
        ---------
        noisy : torch.Tensor
            ``[B, samples]``, zero past each utterance's end.
        clean : torch.Tensor
            ``[B, samples]``, zero past each utterance's end.
        seed : str
            Of all draws: the same text gives the same mixtures on any device.
        lengths : torch.Tensor, optional
            Relative lengths ``[B]``.

        Returns
        -------
        noisy : torch.Tensor
            ``[B, samples]``, zero past each utterance's end. The noise of a
            shorter utterance ends earlier in a longer one.
        clean : torch.Tensor
            ``[B, samples]``, changed by the speech effects alone.
        """
        generator = seeded_generator(seed)
        if torch.rand((), generator=generator) >= self.probability:
            return noisy, clean
        # Autocast would round the effects' convolutions, targets included.
        with torch.autocast(noisy.device.type, enabled=False):
            return self._mix(noisy, clean, lengths, generator)

    def _mix(self, noisy, clean, lengths, generator):
        noise = noisy - clean
        for effect in self.speech_effects:
            clean = clear_padding(effect(clean, generator), lengths)
        for effect in self.noise_effects:
            noise = effect(noise, generator)
        first, second = _choose_donors(noise, generator)
        position = torch.rand(len(noisy), 1, generator=generator)
        snr = self.snr_low + position * (self.snr_high - self.snr_low)
        added = clear_padding(noise[first], lengths)
        if self.second_probability and second is not None:
            other = clear_padding(noise[second], lengths)
            draws = torch.rand(2, len(noisy), 1, generator=generator)
            gain = dB_to_amplitude(-12 * draws[0])
            gain *= draws[1] < self.second_probability
            added = added + gain.to(noisy) * _match_energy(added, other) * other
        gain = _match_energy(clean, added) / dB_to_amplitude(snr.to(noisy))
        if self.clean_probability:
            draws = torch.rand(len(noisy), 1, generator=generator)
            gain *= (draws >= self.clean_probability).to(noisy)
        return clean + gain * added, clean


def _choose_donors(
    noise: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Chooses whose two noises each utterance gets, all equally often."""
    order = torch.randperm(len(noise), generator=generator).to(noise.device)
    donors = order[noise[order].any(1)]
    if not len(donors):
        return order, None
    rounds = -(-len(noise) // len(donors))
    first, second = (
        turn.repeat(rounds)[: len(noise)] for turn in (donors, donors.roll(1))
    )
    return first, second if len(donors) > 1 else None


def _match_energy(reference: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Finds the gain at which a noise has the energy of a reference."""
    # Both sums run over the same samples: their ratio is the SNR.
    wanted = reference.square().sum(1, keepdim=True)
    energy = noise.square().sum(1, keepdim=True).clamp(min=1e-12)
    return (wanted / energy).sqrt()
