"""Reads weights strictly: every tensor is there, fits, and is finite.

SpeechBrain's own transfer only warns about tensors that are missing.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from phasen_sb.errors import UserError


def read_state(path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """Reads a state dict onto the CPU, without running any code in its file.

    Raises UserError if the file, which ``torch.save`` wrote, is missing, cut
    short, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"There is no file {path}, which should hold weights; check the "
            "path."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    # torch.load raises what its unpickler, zip reader or file raised.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise UserError(
            f"{path} cannot be read as weights ({reason}); give a whole file "
            "that torch.save wrote."
        ) from error
    if not isinstance(state, Mapping):
        raise UserError(
            f"{path} holds a {type(state).__name__} instead of weights; give "
            "a file with a state dict."
        )
    return dict(state)


def check_finite(state: Mapping[str, torch.Tensor], source: str) -> None:
    """Raises UserError, naming the first tensor that has NaN or infinity.

    The error calls the state dict ``source``.

    Example
    -------
    >>> check_finite({"bias": torch.tensor([1.0, float("nan")])}, "net.ckpt")
    Traceback (most recent call last):
    ...
    phasen_sb.errors.UserError: net.ckpt cannot be used: its tensor 'bias' has
    1 value that is NaN or infinite; take an earlier checkpoint or train again.
    """
    for name, tensor in state.items():
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            values = "1 value that is" if bad == 1 else f"{bad} values that are"
            raise UserError(
                f"{source} cannot be used: its tensor {name!r} has {values} "
                "NaN or infinite; take an earlier checkpoint or train again."
            )


def load_state(
    module: nn.Module,
    state: Mapping[str, torch.Tensor],
    source: str,
    network: str = "the one it is loaded into",
) -> None:
    """Loads a state dict that must fit exactly.

    Raises UserError if a tensor is missing, unknown, of another shape or not
    finite; the message calls the state dict ``source`` and the module
    ``network``.
    """
    expected = module.state_dict()
    for problem, names in (
        ("lacks", set(expected) - set(state)),
        ("has, beyond the network's tensors,", set(state) - set(expected)),
    ):
        if names:
            raise UserError(
                f"{source} {problem} {sorted(names)[0]!r} ({len(names)} of "
                f"{len(expected)} tensors); it belongs to another network "
                f"than {network}."
            )
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise UserError(
                f"{source} has {name!r} as {list(tensor.shape)}, the network "
                f"needs {list(expected[name].shape)}; it belongs to another "
                f"network than {network}."
            )
    check_finite(state, source)
    module.load_state_dict(state)


def load_weights(module: nn.Module, path: str | os.PathLike) -> None:
    """Loads ``model.ckpt``; SpeechBrain's Pretrainer calls it.

    Arguments
    ---------
    module : torch.nn.Module
        The enhancer.
    path : path
        File with its state dict.

    Raises
    ------
    phasen_sb.errors.UserError
        If the file is missing, cut short, or holds something else, or a tensor
        is missing, unknown, of another shape or not finite.
    """
    load_state(module, read_state(path), str(path))
