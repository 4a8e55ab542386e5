"""Noise without end, in place of recorded noise."""

import math
from collections.abc import Sequence

import torch

from phasen_sb.augmentation.coloration import Coloration
from phasen_sb.augmentation.drawing import draw_order, is_on_host
from phasen_sb.augmentation.effect import Effect
from phasen_sb.augmentation.noise_families import FAMILIES
from phasen_sb.augmentation.reverberation import Reverberation
from phasen_sb.augmentation.synthesis import set_energy
from phasen_sb.errors import UserError

#: Root mean square of noise that replaces silence.
USUAL_LEVEL = 0.05


class SyntheticNoise(Effect):
    """Replaces signals by computed noise of the same energy.

    The families take turns, in a random order: swelling coloured noise, wind,
    fans, engines, impacts, steps, crackle, chirps, alarms, music
    (:mod:`phasen_sb.augmentation.noise_families`). Each noise is heard in a
    room and through a microphone of its own. Silence is replaced, too, so that
    training needs no recorded noise.

    Arguments
    ---------
    probability : float
        Share of the signals.
    sample_rate : int
        Of the signals (Hz).
    families : sequence of str, optional
        Names of the families; by default all.

    Raises
    ------
    UserError
        If there is no family of a name.

    Example
    -------
    >>> noise = SyntheticNoise(1, families=["wind"])
    >>> heard = noise(torch.ones(2, 16000), torch.Generator().manual_seed(0))
    >>> heard.shape, heard.square().mean().round(decimals=3)
    (torch.Size([2, 16000]), tensor(1.))
    """

    def __init__(
        self,
        probability: float,
        sample_rate: int = 16000,
        families: Sequence[str] | None = None,
    ):
        super().__init__(probability)
        self.sample_rate = sample_rate
        self.names = list(FAMILIES if families is None else families)
        for name in self.names:
            if name not in FAMILIES:
                raise UserError(
                    f"There is no family of noises {name!r}; choose from "
                    f"{', '.join(FAMILIES)}."
                )
        self.room = Reverberation(0.6, sample_rate)
        self.color = Coloration(0.7, sample_rate)

    def draw(
        self, count: int, samples: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Draws the noises ``[count, samples]``, whose mean square is 1."""
        noise = self._draw_families(count, samples, generator)
        noise = self.room(set_energy(noise), generator)
        return (set_energy(self.color(noise, generator)),)

    def _draw_families(self, count, samples, generator):
        families = [FAMILIES[name] for name in self.names]
        order = draw_order(len(families), generator)
        turns = math.ceil(count / len(families))
        if not is_on_host(generator):
            made = [
                family(turns, samples, self.sample_rate, generator)
                for family in families
            ]
            made = torch.stack(made, 1).index_select(1, order)
            return made.flatten(0, 1)[:count]
        rows = order.repeat(turns)[:count]
        noise = torch.empty(count, samples)
        for index, family in enumerate(families):
            chosen = rows == index
            if chosen.any():
                noise[chosen] = family(
                    int(chosen.sum()), samples, self.sample_rate, generator
                )
        return noise

    def change(
        self, signals: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """Gives the noise the energy of the signals."""
        energy = signals.square().mean(1, keepdim=True)
        energy = torch.where(energy > 0, energy, USUAL_LEVEL**2)
        return noise.to(signals) * energy.sqrt()
