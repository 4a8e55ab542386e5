"""Random numbers that depend on a text alone."""

import hashlib

import torch


def seeded_generator(
    text: str, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Makes a generator that a text seeds; on the CPU alike on all machines.

    The text is made of seed, epoch and utterance, for example.
    """
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    seed = int.from_bytes(digest[:7], "big")
    return torch.Generator(device).manual_seed(seed)
