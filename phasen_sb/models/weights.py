"""Reads weights strictly: every tensor is there, fits, and is finite.

SpeechBrain's own transfer only warns about tensors that are missing.
"""

import logging
import os
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from phasen_sb.errors import UserError
from phasen_sb.models.safe_description import MOST_BYTES, TRUST, Untrusted

logger = logging.getLogger(__name__)

#: What torch.save names in a state dict, besides types of storages.
NAMED = {
    "collections Counter",
    "collections OrderedDict",
    "torch Size",
    "torch.nn.parameter Parameter",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
}
#: Bytes of the list of tensors in a file of weights.
MOST_LIST = 2**21


def read_state(
    path: str | os.PathLike, trust: bool | None = None
) -> dict[str, torch.Tensor]:
    """Reads a state dict onto the CPU, without running any code in its file.

    With ``trust`` True, code in it is run; None is False where the user has no
    such choice, and the error does not offer it.

    Raises UserError if the file, which ``torch.save`` wrote, is missing, cut
    short, or holds something else, such as tensors larger than the file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"There is no file {path}, which should hold weights; check the "
            "path."
        )
    hint = f", or, {TRUST}" if trust is False else ""
    try:
        # The format of before 2020 is read as it is: it has no sizes ahead.
        if not trust and (trust is False or zipfile.is_zipfile(path)):
            _check_sizes(path)
        state = torch.load(path, map_location="cpu", weights_only=not trust)
    # torch.load raises what its unpickler, zip reader or file raised.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        if isinstance(error, UnpicklingError):
            reason = "it holds pickled objects, which could run code"
        raise (UserError if trust else Untrusted)(
            f"{path} cannot be read as weights ({reason}); give a whole file "
            f"that torch.save wrote{hint}."
        ) from error
    if not isinstance(state, Mapping):
        raise UserError(
            f"{path} holds a {type(state).__name__} instead of weights; give "
            "a file with a state dict."
        )
    if trust is False:
        for name, tensor in state.items():
            _check_tensor(str(path), name, tensor)
    return dict(state)


def _check_tensor(source, name, tensor):
    if not (isinstance(name, str) and isinstance(tensor, torch.Tensor)):
        raise UserError(
            f"{source} has {name!r}, which is not a tensor; give weights "
            "that phasen_sb wrote."
        )


def _check_sizes(path):
    """Raises ValueError if tensors would take more memory than their file."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                _check_pickle(archive, entry)
    if size > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES / 2**30:.0f} GB")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("its contents claim to be larger than the file")
    total = 0
    for tensor in _find_tensors(
        torch.load(path, map_location="meta", weights_only=True)
    ):
        taken = tensor.numel() * tensor.element_size()
        total += taken
        if max(taken, tensor.untyped_storage().nbytes()) > size:
            raise ValueError(
                f"it claims a tensor of size {list(tensor.shape)}, larger "
                "than the file"
            )
    if total > MOST_BYTES:
        raise ValueError("its tensors claim to be larger than the file")


def _check_pickle(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Refuses what would make anything but plain tensors and containers.

    PyTorch's safe unpickler also makes a ``bytearray`` of any length.
    """
    if entry.file_size > MOST_LIST:
        raise ValueError(f"it lists more than {MOST_LIST / 2**20:.0f} MB")
    for opcode, name, _ in pickletools.genops(archive.read(entry)):
        if opcode.name == "GLOBAL" and name not in NAMED:
            module, _, kind = name.rpartition(" ")
            if module not in ("torch", "torch.storage") or not kind.endswith(
                "Storage"
            ):
                raise UnpicklingError(f"it has {name}")


def _find_tensors(root: Any) -> Iterator[torch.Tensor]:
    """Yields the tensors in nested containers, shared ones once."""
    waiting, seen = [root], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += value


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
    check_shapes(module, state, source, network)
    check_finite(state, source)
    module.load_state_dict(state)


def load_initial_state(
    module: nn.Module,
    state: Mapping[str, torch.Tensor],
    source: str,
    network: str,
    partly: str | None = None,
) -> None:
    """Loads a state dict that a training starts from.

    It may lack tensors that start at zero in the module, such as those of
    :class:`phasen_sb.network.neighbour_filter.NeighbourFilter`: with them the
    network begins as one that has none. Of the part of the module that
    ``partly`` names, such as ``amplitude_head``, only tensors that fit are
    taken; the rest of it begins anew. Otherwise as :func:`load_state`, with the
    same errors.

    Example
    -------
    >>> layer = nn.Linear(1, 1)
    >>> _ = nn.init.zeros_(layer.bias)
    >>> earlier = {"weight": torch.ones(1, 1)}
    >>> load_initial_state(layer, earlier, "earlier", "this one")
    >>> layer(torch.ones(1))
    tensor([1.], grad_fn=<ViewBackward0>)
    """
    own = module.state_dict()
    if partly is not None:
        state = _replace_part(own, state, partly)
    zeros = {
        name: tensor
        for name, tensor in own.items()
        if name not in state and not tensor.any()
    }
    state = zeros | dict(state)
    if partly is None:
        try:
            check_shapes(module, state, source, network)
        except UserError as error:
            raise UserError(
                f"{str(error).rstrip('.')}, or init_partly must name the part "
                "of it that begins anew, such as amplitude_head."
            ) from error
    load_state(module, state, source, network)


def _replace_part(own, state, part):
    """Puts a module's own tensors where those of a part do not fit it."""

    def split(tensors):
        rest, inside = {}, {}
        for name, tensor in tensors.items():
            is_inside = f"{_in_network(name)}.".startswith(f"{part}.")
            (inside if is_inside else rest)[name] = tensor
        return rest, inside

    inside = split(own)[1]
    if not inside:
        names = [name for name in own if name != _in_network(name)] or own
        parts = {_in_network(name).split(".")[0] for name in names}
        raise UserError(
            f"init_partly is {part!r}, which the network has not; its parts "
            f"are {', '.join(sorted(parts))}."
        )
    fitting = {
        name: state[name]
        for name, tensor in inside.items()
        if name in state and state[name].shape == tensor.shape
    }
    logger.info(
        f"Of {part}, {len(fitting)} of {len(inside)} tensors are taken; the "
        "others begin anew."
    )
    return split(state)[0] | inside | fitting


def _in_network(name):
    """The name of an enhancer's tensor within its network."""
    return name.removeprefix("network.")


def check_shapes(
    module: nn.Module,
    state: Mapping[str, torch.Tensor],
    source: str,
    network: str = "the one it is loaded into",
) -> None:
    """Raises UserError unless a state dict has just a module's tensors.

    Only shapes are looked at: the module may be on the meta device. For names
    in the message see :func:`load_state`.
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
        _check_tensor(source, name, tensor)
        if tensor.shape != expected[name].shape:
            raise UserError(
                f"{source} has {name!r} as {list(tensor.shape)}, the network "
                f"needs {list(expected[name].shape)}; it belongs to another "
                f"network than {network}."
            )


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
