"""The ``hyperparams.yaml`` of an exported model.

It holds the enhancer alone, as HyperPyYAML that builds it, and what
SpeechBrain's inference classes ask for around it.
"""

import io
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import YAMLError
from ruamel.yaml.tag import Tag

from phasen_sb.errors import UserError

HEADER = """\
# Loaded by speechbrain.inference.enhancement.WaveformEnhancement and by
# phasen_sb.inference.pretrained.Enhancer; needs phasen_sb to be installed.
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


def tagged(tag: str, **content) -> CommentedMap:
    """Makes a YAML mapping with a tag, such as ``!new:some.Class``.

    Example
    -------
    >>> node = tagged("!new:torch.nn.Linear", in_features=2, out_features=1)
    >>> print(describe(node, 8000).splitlines()[3])
    enhance_model: !new:torch.nn.Linear
    """
    node = CommentedMap(
        (key, CommentedSeq(value) if isinstance(value, list) else value)
        for key, value in content.items()
    )
    for value in node.values():
        if isinstance(value, CommentedSeq):
            value.fa.set_flow_style()
    node.yaml_set_ctag(Tag(suffix=tag))
    return node


def enhancer_of_run(path: Path) -> tuple[CommentedMap, int]:
    """Cuts the enhancer out of a training run's resolved YAML.

    Arguments
    ---------
    path : pathlib.Path
        The ``hyperparams.yaml`` that the run wrote.

    Returns
    -------
    enhancer : CommentedMap
        The node under ``modules: enhancer``, all references written out.
    sample_rate : int
        Its sample rate (Hz).

    Raises
    ------
    UserError
        If the file is missing, no YAML, or describes no enhancer.
    """
    return _read(path, lambda content: content["modules"]["enhancer"])


def enhancer_of_export(path: Path) -> tuple[CommentedMap, int]:
    """Reads the enhancer from an exported model's ``hyperparams.yaml``.

    Arguments
    ---------
    path : pathlib.Path
        The file.

    Returns
    -------
    enhancer : CommentedMap
        The node under ``enhance_model``.
    sample_rate : int
        Its sample rate (Hz).

    Raises
    ------
    UserError
        If the file is missing, no YAML, or describes no enhancer.
    """
    return _read(path, lambda content: content["enhance_model"])


def _read(path, select):
    try:
        content = YAML().load(path.read_text(encoding="utf-8"))
        return _without_anchors(select(content)), int(content["sample_rate"])
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); give the output "
            "folder of a training run or an exported model."
        ) from error
    except (YAMLError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} describes no enhancer ({error}); give the output folder "
            "of recipes/train.py or what phasen export wrote."
        ) from error


def describe(enhancer: Mapping, sample_rate: int) -> str:
    """Writes the whole ``hyperparams.yaml``.

    Arguments
    ---------
    enhancer : CommentedMap
        From :func:`tagged` or :func:`enhancer_of_run`.
    sample_rate : int
        Sample rate of the model (Hz).

    Returns
    -------
    str
        HyperPyYAML text.
    """
    body = io.StringIO()
    yaml = YAML()
    yaml.width = 78
    yaml.dump({"sample_rate": sample_rate, "enhance_model": enhancer}, body)
    return HEADER + body.getvalue() + FOOTER


def _without_anchors(node):
    # Copied node by node: an anchor may stand outside of what is cut out.
    if isinstance(node, CommentedMap):
        copy = CommentedMap(
            (key, _without_anchors(value)) for key, value in node.items()
        )
    elif isinstance(node, CommentedSeq):
        copy = CommentedSeq(_without_anchors(value) for value in node)
        copy.fa.set_flow_style()
    elif isinstance(node, TaggedScalar):
        return TaggedScalar(node.value, node.style, node.tag)
    else:
        return node
    if node.tag.value is not None:
        copy.yaml_set_ctag(node.tag)
    return copy
