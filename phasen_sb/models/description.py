"""The ``hyperparams.yaml`` of stored models: what builds an enhancer.

That of an exported model holds the enhancer alone and what SpeechBrain's
inference classes ask for around it. Of a training run's the enhancer is cut
out.
"""

import io
import re
from dataclasses import dataclass, field
from pathlib import Path

from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import YAMLError
from ruamel.yaml.tag import Tag
from torch import nn

import phasen_sb
from phasen_sb.errors import UserError

HEADER = """\
# Loaded by speechbrain.inference.enhancement.WaveformEnhancement and by
# phasen_sb.Enhancer; needs phasen_sb to be installed.
"""

FOOTER = """\
audio_normalizer: !new:speechbrain.dataio.preprocess.AudioNormalizer
  sample_rate: !ref <sample_rate>
modules:
  enhance_model: !ref <enhance_model>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
  loadables:
    model: !ref <enhance_model>
  custom_hooks:
    model: !name:phasen_sb.load_weights
"""


@dataclass
class Description:
    """What builds an enhancer, without its weights.

    Example
    -------
    >>> linear = describe_object("torch.nn.Linear", in_features=2, bias=False)
    >>> linear["out_features"] = 1
    >>> description = Description(linear, sample_rate=8000)
    >>> description.build("my_model")
    Linear(in_features=2, out_features=1, bias=False)
    >>> print(description.to_yaml().splitlines()[3])
    enhance_model: !new:torch.nn.Linear
    """

    #: HyperPyYAML, such as :func:`describe_object` makes, without references
    #: to anything outside of it.
    enhancer: CommentedMap
    sample_rate: int  #: the enhancer's (Hz)
    #: The plain values beside it: of a training run, the recipe's settings.
    settings: dict[str, str | int | float] = field(default_factory=dict)

    def build(self, source: str) -> nn.Module:
        """Builds the enhancer, its weights untrained.

        Raises UserError, which calls the model ``source``, if it cannot be
        built.
        """
        try:
            return load_hyperpyyaml(self._body())["enhance_model"]
        except (ValueError, TypeError, KeyError, ImportError) as error:
            raise UserError(
                f"The enhancer of {source} cannot be built from its "
                f"hyperparams.yaml: {error}"
            ) from error

    def to_yaml(self) -> str:
        """Writes the ``hyperparams.yaml`` of an exported model.

        Classes that have a public name in ``phasen_sb`` are called by it,
        because public names do not move.
        """
        return HEADER + _use_public_names(self._body()) + FOOTER

    def _body(self):
        body = io.StringIO()
        yaml = YAML()
        yaml.width = 78
        yaml.dump(
            {"sample_rate": self.sample_rate, "enhance_model": self.enhancer},
            body,
        )
        return body.getvalue()


def describe_object(name: str, **arguments) -> CommentedMap:
    """Describes a call of a class as a YAML mapping ``!new:some.Class``.

    The name is dotted; arguments are plain values, lists of them, and other
    described objects.
    """
    node = CommentedMap(
        (key, _copy(CommentedSeq(value)) if isinstance(value, list) else value)
        for key, value in arguments.items()
    )
    node.yaml_set_ctag(Tag(suffix=f"!new:{name}"))
    return node


def read_description(path: Path) -> Description:
    """Reads the enhancer from the ``hyperparams.yaml`` of a stored model.

    A training run has it under ``modules: enhancer``, an exported model under
    ``modules: enhance_model``. Raises UserError if the file is missing, is not
    YAML, or describes no enhancer.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = YAML().load(resolve_references(file))
        modules = content["modules"]
        key = "enhancer" if "enhancer" in modules else "enhance_model"
        return Description(
            _copy(modules[key]),
            int(content["sample_rate"]),
            {
                name: value
                for name, value in content.items()
                if isinstance(value, (str, int, float))
            },
        )
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); give the output "
            "folder of a training run or an exported model."
        ) from error
    except (YAMLError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} describes no enhancer ({error}); give the output folder "
            "of recipes/train.py or what phasen export wrote."
        ) from error


def _copy(node):
    """Copies node by node, without anchors, which may stand outside of it."""
    if isinstance(node, CommentedMap):
        copy = CommentedMap((key, _copy(value)) for key, value in node.items())
    elif isinstance(node, CommentedSeq):
        copy = CommentedSeq(_copy(value) for value in node)
        copy.fa.set_flow_style()
    elif isinstance(node, TaggedScalar):
        return TaggedScalar(node.value, node.style, node.tag)
    else:
        return node
    if node.tag.value is not None:
        copy.yaml_set_ctag(node.tag)
    return copy


def _use_public_names(text):
    def rename(match):
        tag, name = match.groups()
        public = name in phasen_sb.__all__
        return f"{tag}phasen_sb.{name}" if public else match[0]

    return re.sub(r"(!\w+:)phasen_sb\.(?:\w+\.)+(\w+)", rename, text)
