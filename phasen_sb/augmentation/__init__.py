"""Augmentation of pairs of noisy and clean speech, a batch at a time.

All draws come from a seed, so that a resumed training sees the same data as an
uninterrupted one. Whatever draws takes a :class:`torch.Generator` and keeps to
this contract:

* Signals are ``[B, samples]``. An effect is called with signals and a
  generator, and returns signals of the same shape, type and device. It keeps no
  state: whoever makes the generator seeds it by seed, epoch and batch (on the
  CPU: :func:`phasen_sb.utils.seeding.seeded_generator` of a text).
* With a generator on the CPU, draws are the same on every machine and in every
  later version, so that earlier runs resume. Only the chosen signals are
  computed.
* With a generator on a GPU, and the signals there, too, all signals are
  computed and the chosen ones taken: no value is read, no shape depends on one,
  and after the first call nothing is copied from the CPU. So nothing
  synchronises, and a CUDA graph, with which the generator is registered, can
  capture it.
* :class:`phasen_sb.augmentation.effect.Effect` does both. A subclass defines
  ``draw(count, samples, generator)``, which returns tensors with a row for each
  signal, and ``change(signals, *drawn)``, which is not random. Numbers come
  from :mod:`phasen_sb.augmentation.drawing`. A noise generator is an effect
  that takes only the shape of the signals, and perhaps their energy, as
  :class:`phasen_sb.Hiss` does.
* With a ``probability`` of 0 nothing is drawn, so that the other effects draw
  the same as without it, and it does not count as a setting of a run.
"""

from phasen_sb.augmentation.babble import Babble
from phasen_sb.augmentation.batches import AugmentedBatches, add_augmentation
from phasen_sb.augmentation.channel import ChannelEffect, Clipping, Codec
from phasen_sb.augmentation.coloration import Coloration, Hiss
from phasen_sb.augmentation.effect import Effect
from phasen_sb.augmentation.levels import LevelChanges, Pauses
from phasen_sb.augmentation.remix import Remix
from phasen_sb.augmentation.reverberation import Reverberation
from phasen_sb.augmentation.speed import Speed
from phasen_sb.augmentation.synthetic_noise import SyntheticNoise
from phasen_sb.augmentation.vocal_tract import VocalTract

__all__ = [
    "AugmentedBatches",
    "Babble",
    "ChannelEffect",
    "Clipping",
    "Codec",
    "Coloration",
    "Effect",
    "Hiss",
    "LevelChanges",
    "Pauses",
    "Remix",
    "Reverberation",
    "Speed",
    "SyntheticNoise",
    "VocalTract",
    "add_augmentation",
]
