"""Descriptions from anybody: checked, and built without running their code.

HyperPyYAML calls whatever a YAML names. Here a description is data: nothing of
it is imported or called but the classes and functions listed below, by exact
name, and it may ask for no more memory than a large enhancer takes.
"""

import re
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from hyperpyyaml.core import parse_arithmetic
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    NodeEvent,
)
from ruamel.yaml.scalarbool import ScalarBoolean
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from phasen_sb.errors import UserError
from phasen_sb.utils.public_names import PUBLIC

#: What a model of ``phasen_sb`` is built of: layers, whose constructors do
#: nothing but make their tensors.
CLASSES = {
    *(
        f"phasen_sb.{name}"
        for name in (
            "AmplitudeHead",
            "BatchNorm",
            "CarrierDecoder",
            "CarrierEncoder",
            "CarrierMaskNet",
            "ConvISTFT",
            "ConvNormAct",
            "ConvSTFT",
            "FeatureEnhancer",
            "FrameLayerNorm",
            "FrequencyTransformBlock",
            "GlobalLayerNorm",
            "ISTFT",
            "InformationCommunication",
            "LogMagnitudeNetwork",
            "MagnitudeMask",
            "PHASEN",
            "PhaseConv",
            "PhasenEnhancer",
            "TwoStreamBlock",
            "WaveformMap",
            "WaveformModel",
        )
    ),
    "speechbrain.processing.features.ISTFT",
    "speechbrain.processing.features.STFT",
    # Those of hparams/baselines.
    "speechbrain.lobes.models.EnhanceResnet.EnhanceResnet",
    "speechbrain.lobes.models.dual_path.SepformerWrapper",
    "speechbrain.lobes.models.transformer.TransformerSE.CNNTransformerSE",
    "speechbrain.nnet.CNN.Conv1d",
    "speechbrain.nnet.containers.Sequential",
    "speechbrain.nnet.normalization.BatchNorm2d",
    "speechbrain.nnet.normalization.LayerNorm",
    "torch.nn.LeakyReLU",
    "torch.nn.Sigmoid",
}

#: Functions that constructors may be given, and call.
WINDOWS = {
    "phasen_sb.sqrt_hann_window",
    "torch.hamming_window",
    "torch.hann_window",
}

#: What is built in place of SpeechBrain's: it computes the same, and starts
#: sooner.
STAND_INS = {
    "speechbrain.processing.features.ISTFT": "phasen_sb.signals.istft.ISTFT",
    "speechbrain.processing.features.STFT": "phasen_sb.signals.stft.STFT",
}

#: What stands around the enhancer of an exported model, for SpeechBrain. It is
#: never built here.
AROUND = {
    "!name:phasen_sb.load_weights",
    "!new:speechbrain.dataio.preprocess.AudioNormalizer",
    "!new:speechbrain.utils.parameter_transfer.Pretrainer",
}
#: What else stands around that of a training run. It is never called here.
SEEDING = "!apply:speechbrain.utils.seed.seed_everything"

#: How to load a model that is refused; ends the sentence.
TRUST = (
    "if you trust whoever made it, load it with --trust (in Python: trust=True)"
)

MOST_CHARACTERS = 32768
MOST_DEPTH = 30
MOST_ALIASES = 200
MOST_NODES = 5000
MOST_INTEGER = 2**24
#: Of a network's tensors, and of a file of weights.
MOST_BYTES = 2 * 2**30
#: Made in building a network, with those for a moment only.
MOST_TENSORS = 4000

# Not run on the meta device, which has no values: PyTorch's own ranges, and
# sqrt of windows, take a second or more to import there.
IN_PLACE = {"copy_", "fill_", "normal_", "uniform_", "zero_"}
RANGES = {"arange", "hamming_window", "hann_window"}

_MOVED = re.compile(r"phasen_sb\.(?:\w+\.)*(\w+)")
_REFERENCE = re.compile(r"<([\w-]+(?:\[[\w-]+\])*)>")
_TUPLE = re.compile(r"\((\s*-?\d{1,8}\s*(?:,\s*-?\d{1,8}\s*)*)\)")
_ARITHMETIC = re.compile(r"[\d\s.e+*/%()-]{1,100}")


class Untrusted(UserError):
    """A stored model is refused, and would load with ``trust=True``."""


def check_text(text: str, path: Path, is_run: bool) -> dict[str, int]:
    """Checks a description before anything of it is looked at.

    Raises :class:`Untrusted` if it is too large or nested too deeply, or has
    tags that HyperPyYAML would execute, import or read files for. That of a
    training run describes much that is not built here, which is passed over;
    all that an exported model names must be allowed.

    Returns the lines at which objects are named: ``{"!new:a.Class": 7}``.
    """

    def refuse(line, reason):
        return Untrusted(f"{path}, line {line}, {reason}; {TRUST}.")

    if len(text) > MOST_CHARACTERS:
        raise Untrusted(
            f"{path} is larger than {MOST_CHARACTERS} characters, which no "
            f"description of a model is; {TRUST}."
        )
    lines: dict[str, int] = {}
    depth = aliases = 0
    for event in YAML().parse(text):
        line = event.start_mark.line + 1
        depth += isinstance(event, CollectionStartEvent)
        depth -= isinstance(event, CollectionEndEvent)
        aliases += isinstance(event, AliasEvent)
        if depth > MOST_DEPTH:
            raise refuse(line, f"is nested more than {MOST_DEPTH} deep")
        if aliases > MOST_ALIASES:
            raise refuse(line, f"has more than {MOST_ALIASES} aliases")
        if not isinstance(event, NodeEvent):
            continue
        tag = getattr(event, "tag", None)
        if tag is None:
            if not is_run and ".." in _parts(getattr(event, "value", "")):
                raise refuse(line, "has a path with '..' in it")
        elif re.match("!(new|name):", tag):
            lines.setdefault(tag, line)
        elif tag not in ("!ref", "!copy") and not (is_run and tag == SEEDING):
            tag = tag.replace("tag:yaml.org,2002:", "!!")
            raise refuse(
                line, f"has {tag}, which a model may not: it could run code"
            )
    return lines


def find_refused(
    tags: Iterator[str], lines: dict[str, int], path: Path
) -> str | None:
    """Says why objects must not be built; None if all are allowed.

    The sentence names the first of the tags that is not on the lists.
    """
    for tag in tags:
        kind, _, name = tag.partition(":")
        allowed = CLASSES if kind == "!new" else CLASSES | WINDOWS
        if public_name(name) not in allowed and (
            f"{kind}:{public_name(name)}" not in AROUND
        ):
            return (
                f"{path}, line {lines.get(tag, '?')}, has {tag}, which is not "
                f"on the list of what a model may be built of; {TRUST}."
            )
    return None


def public_name(name: str) -> str:
    """Gives the public name of what has had other homes in ``phasen_sb``.

    Example
    -------
    >>> public_name("phasen_sb.features.sqrt_hann_window")
    'phasen_sb.sqrt_hann_window'
    """
    found = _MOVED.fullmatch(name)
    if found and found[1] in PUBLIC:
        return f"phasen_sb.{found[1]}"
    return name


class Resolver:
    """Copies parts of a description, with references and aliases resolved.

    Raises ValueError where a reference leads nowhere or in a circle, or there
    are more parts than any enhancer has.
    """

    def __init__(self, root: CommentedMap):
        self.root = root
        self.nodes = 0

    def copy(self, node: Any, depth: int = 0) -> Any:
        """Copies a node, the shared ones as often as they are used."""
        self.nodes += 1
        if self.nodes > MOST_NODES or depth > MOST_DEPTH:
            raise ValueError(
                "its references and aliases make too large a tree of it"
            )
        if isinstance(node, CommentedMap):
            copy = CommentedMap(
                (key, self.copy(value, depth + 1))
                for key, value in node.items()
            )
        elif isinstance(node, CommentedSeq):
            copy = CommentedSeq(self.copy(value, depth + 1) for value in node)
            copy.fa.set_flow_style()
        elif isinstance(node, TaggedScalar):
            if node.tag.value in ("!ref", "!copy"):
                return self._resolve(node.value, depth + 1)
            return TaggedScalar(node.value, node.style, node.tag)
        else:
            return node
        if node.tag.value is not None:
            copy.yaml_set_ctag(node.tag)
        return copy

    def _resolve(self, text, depth):
        if found := _REFERENCE.fullmatch(text):
            return self.copy(self._follow(found[1]), depth)

        def number(found):
            value = self.copy(self._follow(found[1]), depth)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f'"{text}" computes with what is no number')
            return repr(_plain(value))

        sum_of_numbers = _REFERENCE.sub(number, text)
        if _ARITHMETIC.fullmatch(sum_of_numbers) and "**" not in sum_of_numbers:
            return parse_arithmetic(sum_of_numbers)
        raise ValueError(f'The reference "{text}" is not valid')

    def _follow(self, name):
        node = self.root
        for part in re.findall(r"[\w-]+", name):
            if not isinstance(node, CommentedMap) or part not in node:
                raise ValueError(f'The reference "{name}" is not valid')
            node = node[part]
        return node


def list_tags(node: Any) -> Iterator[str]:
    """Lists the tags of a tree without references and aliases."""
    if isinstance(node, (CommentedMap, CommentedSeq, TaggedScalar)):
        if node.tag.value is not None:
            yield node.tag.value
    if isinstance(node, CommentedMap):
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from list_tags(part)


def sketch(node: Any) -> torch.nn.Module:
    """Builds a network on the meta device, where tensors have only shapes.

    Raises ValueError as soon as they would take more than :data:`MOST_BYTES`.
    """
    with torch.device("meta"), _Meter():
        return construct(node)


def construct(node: Any) -> Any:
    """Builds what a tree describes.

    Raises what constructors raise, and KeyError for what is on no list.
    """
    if isinstance(node, CommentedMap):
        arguments = {construct(key): construct(node[key]) for key in node}
    elif isinstance(node, CommentedSeq):
        arguments = [construct(value) for value in node]
    elif isinstance(node, TaggedScalar):
        arguments = []
    else:
        return _plain(node)
    if node.tag.value is None:
        return arguments
    kind, _, name = node.tag.value.partition(":")
    function = _locate(kind, public_name(name))
    if isinstance(arguments, dict):
        function = partial(function, **arguments)
    elif arguments:
        function = partial(function, *arguments)
    return function() if kind == "!new" else function


class _Meter(TorchDispatchMode):
    """Ends a construction on the meta device that becomes too large."""

    def __init__(self):
        super().__init__()
        self.bytes = 0
        # Kept, so that none has the address of another.
        self.storages: dict[int, torch.UntypedStorage] = {}

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # which is slow to import, too

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in IN_PLACE:
            return args[0]
        if name == "sqrt":
            out = _make_empty(args[0].shape, args[0].dtype)
        elif name in RANGES:
            out = _make_range(name, args, kwargs or {})
        else:
            out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.storages:
                    self.storages[storage._cdata] = storage
                    self.bytes += storage.nbytes()
        if self.bytes > 2 * MOST_BYTES or len(self.storages) > MOST_TENSORS:
            raise ValueError("it asks for a gigantic network")
        return out


def _make_range(name, args, kwargs):
    count = args[0]
    if name == "arange" and len(args) > 1:
        step = args[2] if len(args) > 2 else 1
        count = -(-(args[1] - args[0]) // step)
    default = torch.int64 if name == "arange" else torch.float32
    dtype = kwargs.get("dtype") or default
    return _make_empty([int(count)], dtype)


def _make_empty(shape, dtype):
    return torch.empty(shape, dtype=dtype, device="meta")


def _parts(value):
    return re.split(r"[/\\]", value) if isinstance(value, str) else ()


def _locate(kind, name):
    if name not in CLASSES and (kind != "!name" or name not in WINDOWS):
        raise KeyError(f"{kind}:{name}")
    module, _, attribute = STAND_INS.get(name, name).rpartition(".")
    return getattr(import_module(module), attribute)


def _plain(value):
    if isinstance(value, str):
        # HyperPyYAML's tuple, which it reads with a loader that runs code.
        if found := _TUPLE.fullmatch(value):
            return tuple(int(number) for number in found[1].split(","))
        return str(value)
    if isinstance(value, int):
        if abs(value) > MOST_INTEGER:
            raise ValueError(f"it has a number above {MOST_INTEGER}")
        is_bool = isinstance(value, (bool, ScalarBoolean))
        return bool(value) if is_bool else int(value)
    if value is None or isinstance(value, float):
        return value if value is None else float(value)
    raise ValueError(f"{value!r} is neither text nor a number")
