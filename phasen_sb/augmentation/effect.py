"""What all effects have in common."""

from abc import ABC, abstractmethod

import torch

from phasen_sb.augmentation.drawing import draw_uniform, is_on_host


class Effect(ABC):
    """Changes a random share of signals.

    A subclass defines :meth:`draw`, what is random, and :meth:`change`, which
    depends on nothing else. SpeechBrain's own effects draw from PyTorch's
    global generators, whose state differs between a resumed training and an
    uninterrupted one.

    Arguments
    ---------
    probability : float
        That share.

    Raises
    ------
    ValueError
        If ``probability`` is not from 0 to 1.

    Example
    -------
    >>> class Softer(Effect):
    ...     def draw(self, count, samples, generator):
    ...         return (draw_uniform((0.5, 1), generator, count, 1),)
    ...
    ...     def change(self, signals, gain):
    ...         return gain * signals
    >>> heard = Softer(0.5)(torch.ones(99, 8), torch.Generator().manual_seed(0))
    >>> heard.min() < 0.6, heard.max()
    (tensor(True), tensor(1.))
    """

    def __init__(self, probability: float):
        if not 0 <= probability <= 1:
            raise ValueError(f"probability ({probability}) must be 0 to 1.")
        self.probability = probability

    def __call__(
        self, signals: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Changes some of the signals.

        Arguments
        ---------
        signals : torch.Tensor
            ``[B, samples]``
        generator : torch.Generator
            On the CPU, whatever the device of the signals: it draws the same on
            all machines, and only the chosen signals are computed. Or on the
            device of the signals, with which nothing synchronises then.

        Returns
        -------
        torch.Tensor
            ``[B, samples]``, a new tensor if any is changed. With probability
            0 nothing is drawn.
        """
        if not self.probability:
            return signals
        count, samples = signals.shape
        chosen = draw_uniform((0, 1), generator, count) < self.probability
        if not is_on_host(generator):
            values = self.draw(count, samples, generator)
            changed = self.change(signals, *values)
            return torch.where(chosen.unsqueeze(1), changed, signals)
        if not chosen.any():
            return signals
        chosen = chosen.to(signals.device)
        some = signals[chosen]
        values = self.draw(len(some), samples, generator)
        values = [value.to(signals.device) for value in values]
        changed = signals.clone()
        changed[chosen] = self.change(some, *values)
        return changed

    @abstractmethod
    def draw(
        self, count: int, samples: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Draws what :meth:`change` needs for ``count`` signals.

        Each tensor has a row for each signal, on the generator's device. How
        much is drawn depends on ``count`` and ``samples`` alone.
        """

    @abstractmethod
    def change(
        self, signals: torch.Tensor, *values: torch.Tensor
    ) -> torch.Tensor:
        """Changes all signals ``[B, samples]`` by what was drawn for them.

        It draws nothing, reads no value of a tensor on a GPU, and copies
        nothing between devices but constants, once.
        """
