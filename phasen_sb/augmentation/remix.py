"""New mixtures of the speech and the noises of a batch."""

from collections.abc import Sequence

import torch
from speechbrain.processing.signal_processing import dB_to_amplitude

from phasen_sb.augmentation.babble import Babble
from phasen_sb.augmentation.channel import ChannelEffect
from phasen_sb.augmentation.drawing import (
    draw_order,
    draw_uniform,
    is_on_host,
)
from phasen_sb.augmentation.effect import Effect
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
    channel_effects : sequence of ChannelEffect
        Change the mixtures: clipping, codecs.

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
        channel_effects: Sequence[ChannelEffect] = (),
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
        self.channel_effects = list(channel_effects)

    def __call__(
        self,
        noisy: torch.Tensor,
        clean: torch.Tensor,
        seed: str | torch.Generator,
        lengths: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Remixes a batch.

        Arguments
        ---------
        noisy : torch.Tensor
            ``[B, samples]``, zero past each utterance's end.
        clean : torch.Tensor
            ``[B, samples]``, zero past each utterance's end.
        seed : str or torch.Generator
            Of all draws: the same text gives the same mixtures on any device.
            A generator on the signals' device, if that is not the CPU, makes
            others, and nothing synchronises with the device.
        lengths : torch.Tensor, optional
            Relative lengths ``[B]``, on the signals' device if the generator
            is.

        Returns
        -------
        noisy : torch.Tensor
            ``[B, samples]``, zero past each utterance's end. The noise of a
            shorter utterance ends earlier in a longer one.
        clean : torch.Tensor
            ``[B, samples]``, changed by the speech effects, and by channel
            effects where they lose what nobody can bring back.
        """
        generator = seeded_generator(seed) if isinstance(seed, str) else seed
        if not self.probability:
            return noisy, clean
        remixed = draw_uniform((0, 1), generator) < self.probability
        if is_on_host(generator) and not remixed:
            return noisy, clean
        mixture, target = self.mix(clean, noisy - clean, generator, lengths)
        if is_on_host(generator) or self.probability == 1:
            return mixture, target
        return (
            torch.where(remixed, mixture, noisy),
            torch.where(remixed, target, clean),
        )

    def mix(
        self,
        clean: torch.Tensor,
        noise: torch.Tensor,
        generator: torch.Generator,
        lengths: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixes speech and noises that come apart, whatever ``probability``.

        Arguments
        ---------
        clean : torch.Tensor
            ``[B, samples]``, zero past each utterance's end.
        noise : torch.Tensor
            ``[N, samples]``; all are given equally often, but for rows of
            zeros, which are no noise.
        generator : torch.Generator
            On the CPU or on the signals' device, as above.
        lengths : torch.Tensor, optional
            Relative lengths of the utterances ``[B]``.

        Returns
        -------
        noisy, clean : torch.Tensor
            As above.

        Example
        -------
        >>> clean, noise = torch.randn(4, 16000), torch.randn(4, 16000)
        >>> generator = torch.Generator().manual_seed(0)
        >>> noisy, target = Remix(20, 20).mix(clean, noise, generator)
        >>> (noisy - target).square().mean().sqrt().round(decimals=1)
        tensor(0.1000)
        """
        # Autocast would round the effects' convolutions, targets included.
        with torch.autocast(clean.device.type, enabled=False):
            return self._mix(clean, noise, generator, lengths)

    def _mix(self, clean, noise, generator, lengths):
        for effect in self.speech_effects:
            clean = clear_padding(effect(clean, generator), lengths)
        for effect in self.noise_effects:
            if not isinstance(effect, Babble):
                noise = effect(noise, generator)
        count = len(clean)
        first, second, donors = _choose_donors(noise, count, generator)
        snr = draw_uniform((self.snr_low, self.snr_high), generator, count, 1)
        added = clear_padding(noise[first], lengths)
        # The only noise may be added to itself: its level is set below.
        if self.second_probability and (
            not is_on_host(generator) or donors > 1
        ):
            other = clear_padding(noise[second], lengths)
            level = draw_uniform((0, -12), generator, count, 1)
            drawn = draw_uniform((0, 1), generator, count, 1)
            gain = dB_to_amplitude(level) * (drawn < self.second_probability)
            gain = gain.to(clean) * _match_energy(added, other)
            added = added + gain * other
        for effect in self.noise_effects:
            if isinstance(effect, Babble):
                added = effect.replace(added, clean, generator)
                added = clear_padding(added, lengths)
        gain = _match_energy(clean, added) / dB_to_amplitude(snr.to(clean))
        if self.clean_probability:
            drawn = draw_uniform((0, 1), generator, count, 1)
            gain *= (drawn >= self.clean_probability).to(clean)
        noisy = clean + gain * added
        for effect in self.channel_effects:
            noisy, clean = (
                clear_padding(signals, lengths)
                for signals in effect.apply(noisy, clean, generator)
            )
        return noisy, clean


def _choose_donors(
    noise: torch.Tensor, count: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Chooses whose two noises each utterance gets, all equally often.

    Returns both choices ``[count]`` and the number of noises that are any.
    """
    order = draw_order(len(noise), generator).to(noise.device)
    heard = noise.any(1)[order]
    order = order[(~heard).int().argsort(stable=True)]  # these first
    donors = heard.sum()
    turns = torch.arange(count, device=noise.device)
    first, second = (
        order[(turns + shift) % donors.clamp(min=1)] for shift in (0, -1)
    )
    return first, second, donors


def _match_energy(reference: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Finds the gain at which a noise has the energy of a reference."""
    # Both sums run over the same samples: their ratio is the SNR.
    wanted = reference.square().sum(1, keepdim=True)
    energy = noise.square().sum(1, keepdim=True).clamp(min=1e-12)
    return (wanted / energy).sqrt()
