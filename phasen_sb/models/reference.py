"""Loads weights that were trained with the public reference code.

The reference is the PyTorch code at https://github.com/huyanxin/phasen. Its
sizes are read off the tensors; its front end (convolutional STFT without
centering, sqrt-Hann windows, pseudo-inverse synthesis) and its statistics
(global layer norm with n - 1) are options of our own modules. The recurrent
layer runs over time, as was meant; as published it ran over the batch.
"""

import os
from collections.abc import Iterable, Mapping

import torch

from phasen_sb.errors import UserError
from phasen_sb.models.description import Description, describe_object
from phasen_sb.models.enhancer import PhasenEnhancer
from phasen_sb.models.loading import StoredModel
from phasen_sb.models.weights import read_state

# The reference calls the layer norm's scale beta and its shift gamma.
LEAVES = {"beta": "weight", "gamma": "bias"}
# Buffers of the reference that ours derives or does not need.
DERIVED = ("istft.window", "istft.enframe", "num_batches_tracked")


def load_reference_checkpoint(
    checkpoint: str | os.PathLike | Mapping[str, torch.Tensor],
    hop: int | None = None,
    sample_rate: int = 16000,
) -> PhasenEnhancer:
    """Builds the enhancer that computes what the reference computes.

    Arguments
    ---------
    checkpoint : path or mapping
        A file written by ``torch.save`` that holds the state dict (alone, or
        under ``model``, ``state_dict`` or ``model_state_dict``), or the state
        dict itself. ``module.`` prefixes are removed.
    hop : int, optional
        Hop of the STFT (samples), which no tensor tells; a quarter of the
        window by default, as in the reference.
    sample_rate : int
        Sample rate the weights were trained at (Hz).

    Returns
    -------
    PhasenEnhancer
        In evaluation mode, without centering and without level
        normalisation, as in the reference.

    Raises
    ------
    phasen_sb.errors.UserError
        If the file cannot be read or is not a checkpoint of the reference.

    Example
    -------
    >>> load_reference_checkpoint({"fc.weight": torch.zeros(2, 2)})
    Traceback (most recent call last):
    ...
    phasen_sb.errors.UserError: The state dict is not a checkpoint of the
    reference PHASEN: it has no tensor 'stft.weight'.
    """
    return read_reference_checkpoint(checkpoint, hop, sample_rate).build()


def read_reference_checkpoint(
    checkpoint: str | os.PathLike | Mapping[str, torch.Tensor],
    hop: int | None = None,
    sample_rate: int = 16000,
) -> StoredModel:
    """Reads a reference checkpoint into a model of ours, to build or export.

    Arguments and errors are those of
    :func:`phasen_sb.load_reference_checkpoint`.
    """
    if isinstance(checkpoint, Mapping):
        source, state = "The state dict", checkpoint
    else:
        source, state = str(checkpoint), read_state(checkpoint)
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(state.get(key), Mapping):
            state = state[key]
    state = {
        name.removeprefix("module."): tensor for name, tensor in state.items()
    }
    try:
        network, window = _sizes(state)
    except KeyError as error:
        raise UserError(
            f"{source} is not a checkpoint of the reference PHASEN: it has no "
            f"tensor {error}."
        ) from error
    front_end = {
        "sample_rate": sample_rate,
        "win_length": 1000 * window / sample_rate,
        "hop_length": 1000 * (hop or window // 4) / sample_rate,
        "n_fft": network["n_fft"],
        "center": False,
    }
    enhancer = describe_object(
        "phasen_sb.PhasenEnhancer",
        stft=describe_object("phasen_sb.ConvSTFT", **front_end),
        istft=describe_object(
            "phasen_sb.ConvISTFT", **front_end, synthesis="pseudo_inverse"
        ),
        network=describe_object("phasen_sb.PHASEN", **network),
        normalize=False,
    )
    names = our_names(state, network["blocks"])
    ours = {
        ours: _arrange(state[name], name).contiguous()
        for name, ours in names.items()
    }
    return StoredModel(Description(enhancer, sample_rate), ours, source)


def our_names(names: Iterable[str], blocks: int) -> dict[str, str]:
    """Maps names of the reference's tensors to ours.

    What ours derives or does not need is left out. ``blocks`` is the number of
    two-stream blocks.

    Example
    -------
    >>> our_names(["tsbs.0.phase_conv1.1.beta", "fcs.0.bias"], blocks=1)
    {'tsbs.0.phase_conv1.1.beta': 'network.blocks.0.phase.0.norm.weight',
     'fcs.0.bias': 'network.amplitude_head.dense.0.bias'}
    """
    prefixes = _prefixes(blocks)
    ours = {}
    for name in names:
        if not name.endswith(DERIVED):
            prefix, _, leaf = name.rpartition(".")
            prefix = prefixes.get(prefix, prefix)
            ours[name] = f"{prefix}.{LEAVES.get(leaf, leaf)}"
    return ours


def _sizes(state):
    """Options of PHASEN and the window length, from tensor shapes."""
    rows, _, window = state["stft.weight"].shape
    gates = state["rnn.weight_ih_l0"].shape[0]
    units = state["rnn.weight_hh_l0"].shape[1]
    stem = [state[f"phase_conv1.{i}.weight"] for i in (0, 1)]
    blocks = {name.split(".")[1] for name in state if name[:5] == "tsbs."}
    phase = [state[f"tsbs.0.phase_conv{i}.0.weight"] for i in (1, 2)]
    return {
        "n_fft": rows - 2,
        "amplitude_channels": state["amp_conv1.0.weight"].shape[0],
        "phase_channels": stem[0].shape[0],
        "blocks": len(blocks),
        "recurrent": {3: "gru", 4: "lstm"}[gates // units],
        "recurrent_units": units,
        "dense_units": state["fcs.0.weight"].shape[0],
        "attention_channels": state["tsbs.0.ftb1.conv1.0.weight"].shape[0],
        "phase_stem_kernels": [_kernel(weight) for weight in stem],
        "phase_kernels": [_kernel(weight) for weight in phase],
        "phase_norm": "global_unbiased",
        "initialization": "default",
    }, window


def _kernel(weight):
    frequency, time = weight.shape[2:]
    return [time, frequency]


def _prefixes(blocks):
    """Reference prefix -> ours, for every layer with weights."""
    table = {"rnn": "amplitude_head.recurrent"}

    def unit(theirs, ours, conv=0, norm=1):
        table[f"{theirs}.{conv}"] = f"{ours}.conv"
        table[f"{theirs}.{norm}"] = f"{ours}.norm"

    unit("amp_conv1", "amplitude_stem.0")
    unit("amp_conv1", "amplitude_stem.1", conv=3, norm=4)
    for i in (0, 1):
        table[f"phase_conv1.{i}"] = f"phase_stem.{i}.conv"
    for block in range(blocks):
        theirs, ours = f"tsbs.{block}", f"blocks.{block}"
        for i, ftb in ((0, "ftb1"), (4, "ftb2")):
            unit(f"{theirs}.{ftb}.conv1", f"{ours}.amplitude.{i}.squeeze")
            unit(f"{theirs}.{ftb}.conv1d", f"{ours}.amplitude.{i}.weigh")
            unit(f"{theirs}.{ftb}.conv2", f"{ours}.amplitude.{i}.join")
            transform = f"{ours}.amplitude.{i}.transform"
            table[f"{theirs}.{ftb}.freq_fc"] = transform
        for i in (1, 2, 3):
            unit(f"{theirs}.amp_conv{i}", f"{ours}.amplitude.{i}")
        for i in (0, 1):
            unit(f"{theirs}.phase_conv{i + 1}", f"{ours}.phase.{i}")
        for theirs_way, ours_way in (
            ("p2a", "phase_to_amplitude"),
            ("a2p", "amplitude_to_phase"),
        ):
            gate = f"{theirs}.{theirs_way}_comu.comu_conv"
            table[gate] = f"{ours}.{ours_way}.conv"
    unit("amp_conv2", "amplitude_head.squeeze")
    table["phase_conv2.0"] = "phase_head"
    for i in (0, 2, 4):
        table[f"fcs.{i}"] = f"amplitude_head.dense.{i}"
    table = {theirs: f"network.{ours}" for theirs, ours in table.items()}
    return table | {"stft": "stft", "istft": "istft"}


def _arrange(tensor, name):
    """Turns the reference's [.., F, T] kernels into our [.., T, F]."""
    if name.endswith((".beta", ".gamma")):
        return tensor.flatten()
    if ".conv1d.0.weight" in name:
        return tensor.unsqueeze(-1)
    if tensor.dim() == 4:
        return tensor.transpose(2, 3)
    return tensor
