"""Random numbers that depend on a text alone."""

import hashlib

import torch


def seeded_generator(text: str) -> torch.Generator:
    """Makes a CPU generator that a text seeds, the same on every machine.

    The text is made of seed, epoch and utterance, for example.
    """
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
