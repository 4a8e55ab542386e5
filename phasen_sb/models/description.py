"""The ``hyperparams.yaml`` of stored models: what builds an enhancer.

That of an exported model holds the enhancer alone and what SpeechBrain's
inference classes ask for around it. Of a training run's the enhancer is cut
out.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.tag import Tag
from torch import nn

from phasen_sb.configuration.arguments import find_wrong_argument
from phasen_sb.configuration.duplicates import name_duplicate
from phasen_sb.errors import UserError
from phasen_sb.models.safe_description import (
    CLASSES,
    MOST_BYTES,
    MOST_CHARACTERS,
    TRUST,
    Resolver,
    Untrusted,
    check_text,
    construct,
    find_refused,
    list_tags,
    sketch,
)
from phasen_sb.models.weights import check_shapes
from phasen_sb.utils.file_names import CHECKPOINTS, WEIGHTS
from phasen_sb.utils.public_names import PUBLIC

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

#: Recordings are resampled to the enhancer's rate (Hz): memory grows with it.
HIGHEST_RATE = 384000


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

    #: Whether whatever it names may be built, by HyperPyYAML.
    trusted: bool = True
    refused: str | None = None  #: why it must not be built

    def build(
        self, source: str, state: Mapping[str, torch.Tensor] | None = None
    ) -> nn.Module:
        """Builds the enhancer, its weights untrained.

        Before a description that is not trusted is built, its tensors are
        counted and compared with ``state``, which is to be loaded.

        Raises UserError, which calls the model ``source``, if it cannot be
        built.
        """
        if self.refused is not None:
            raise Untrusted(self.refused)
        # Constructors may raise anything at what they do not expect.
        try:
            if self.trusted:
                return load_hyperpyyaml(self._body())["enhance_model"]
            self._check(source, state)
            enhancer = construct(self.enhancer)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"The enhancer of {source} cannot be built from its "
                f"hyperparams.yaml: {self._explain(error)}"
            ) from error
        return enhancer

    def _explain(self, error):
        # Reading recipes takes imports that enhancing does not need.
        from phasen_sb.configuration.reading import to_plain

        # A stranger's model may name anything; nothing else is imported.
        wrong = find_wrong_argument(
            to_plain(self.enhancer), CLASSES.__contains__
        )
        reason = _one_line(error).rstrip(".")
        return reason if wrong is None else f"{reason}. Perhaps {wrong}"

    def _check(self, source, state):
        plan = sketch(self.enhancer)
        if not isinstance(plan, nn.Module):
            raise ValueError("it is no network")
        size = sum(
            tensor.numel() * tensor.element_size()
            for tensor in (*plan.parameters(), *plan.buffers())
        )
        if size > MOST_BYTES:
            raise Untrusted(
                f"The network of {source} takes {size / 2**30:.1f} GB, more "
                f"than {MOST_BYTES / 2**30:.0f} GB; {TRUST}."
            )
        if state is not None:
            check_shapes(plan, state, source)

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
        (key, _in_flow(value) if isinstance(value, list) else value)
        for key, value in arguments.items()
    )
    node.yaml_set_ctag(Tag(suffix=f"!new:{name}"))
    return node


def read_description(path: Path, trust: bool = False) -> Description:
    """Reads the enhancer from the ``hyperparams.yaml`` of a stored model.

    A training run has it under ``modules: enhancer``, an exported model under
    ``modules: enhance_model``. Without ``trust``, the description can build
    nothing but what :mod:`phasen_sb.models.safe_description` lists.

    Raises UserError if the file is missing, is not YAML, describes no
    enhancer, or has what could run code.
    """
    folder = path.parent
    is_export = (folder / WEIGHTS).exists()
    is_run = not is_export or (folder / CHECKPOINTS).is_dir()
    try:
        with open(path, encoding="utf-8") as file:
            if trust:
                content = YAML().load(resolve_references(file))
            else:
                text = file.read(MOST_CHARACTERS + 1)
                lines = check_text(text, path, is_run)
                content = _load(text)
        resolver = Resolver(content)
        modules = content["modules"]
        key = "enhancer" if "enhancer" in modules else "enhance_model"
        enhancer = resolver.copy(modules[key])
        sample_rate = int(resolver.copy(content["sample_rate"]))
        if not 0 < sample_rate <= HIGHEST_RATE:
            raise ValueError(f"its sample_rate is {sample_rate}")
        description = Description(
            enhancer,
            sample_rate,
            {
                name: value
                for name, value in content.items()
                if isinstance(value, (str, int, float))
            },
            trust,
        )
        if not trust:
            tags = list_tags(enhancer) if is_run else lines
            description.refused = find_refused(tags, lines, path)
        return description
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); give the output "
            "folder of a training run or an exported model."
        ) from error
    except UserError:
        raise
    except (
        *(YAMLError, KeyError, TypeError, ValueError),
        *(ArithmeticError, AttributeError, RecursionError),
    ) as error:
        raise UserError(
            f"{path} describes no enhancer ({_one_line(error)}); give the "
            "output folder of recipes/train.py or what phasen export wrote."
        ) from error


def _load(text):
    try:
        return YAML().load(text)
    except YAMLError as error:
        raise name_duplicate(error, text) from error


def _one_line(error):
    return " ".join(str(error).split())


def _in_flow(values):
    node = CommentedSeq(
        _in_flow(value) if isinstance(value, list) else value
        for value in values
    )
    node.fa.set_flow_style()
    return node


def _use_public_names(text):
    def rename(match):
        tag, name = match.groups()
        public = name in PUBLIC
        return f"{tag}phasen_sb.{name}" if public else match[0]

    return re.sub(r"(!\w+:)phasen_sb\.(?:\w+\.)+(\w+)", rename, text)
