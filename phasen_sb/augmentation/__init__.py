"""Augmentation of pairs of noisy and clean speech, a batch at a time.

Every draw is derived from a seed, so that a resumed training sees the same data
as an uninterrupted one. What draws takes a :class:`torch.Generator` and keeps
to one contract:

* Signals are ``[B, samples]``, the seed's generator is the last argument of an
  effect, and what it returns has the signals' shape, type and device. Nothing
  else is random and no state is kept: whoever makes the generator seeds it with
  seed, epoch and batch (:func:`phasen_sb.utils.seeding.seeded_generator` of a
  text, on the CPU).
* A generator on the CPU: draws are the same on any machine, for good, so that
  earlier runs resume; what is not changed is not computed either.
* A generator on a GPU, where the signals are, too: draws are made there, no
  value is read, no shape depends on one, and nothing is copied from the CPU
  after the first call, so that the work neither synchronises nor prevents the
  capture in a CUDA graph (in which the generator is registered).
* :class:`phasen_sb.augmentation.effect.Effect` holds both: a subclass defines
  ``draw(count, samples, generator)``, tensors with a row for each signal, and
  ``change(signals, *drawn)``, which maps signals by them. The numbers come from
  :mod:`phasen_sb.augmentation.drawing`. What makes signals of nothing, as a
  noise generator, is an effect that uses their shape, and perhaps their energy
  (:class:`phasen_sb.Hiss`).
* With ``probability`` 0 nothing is drawn: the other effects' draws do not
  change, and a run's record does not count it.
"""

from phasen_sb.augmentation.batches import AugmentedBatches, add_augmentation
from phasen_sb.augmentation.coloration import Coloration, Hiss
from phasen_sb.augmentation.effect import Effect
from phasen_sb.augmentation.levels import LevelChanges, Pauses
from phasen_sb.augmentation.remix import Remix
from phasen_sb.augmentation.reverberation import Reverberation
from phasen_sb.augmentation.speed import Speed

__all__ = [
    "AugmentedBatches",
    "Coloration",
    "Effect",
    "Hiss",
    "LevelChanges",
    "Pauses",
    "Remix",
    "Reverberation",
    "Speed",
    "add_augmentation",
]
