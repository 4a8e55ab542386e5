"""Loads stored models: training runs, exported models, those of the hub.

There is one way: :func:`read_model` finds and reads a model, and
:meth:`StoredModel.build` makes the enhancer of it.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

import torch
from yaml import YAMLError

from phasen_sb.errors import UserError
from phasen_sb.metrics.checkpoint_selection import SELECTION_METRIC
from phasen_sb.models.description import Description, read_description
from phasen_sb.models.safe_description import TRUST, Untrusted
from phasen_sb.models.weights import check_finite, load_state, read_state
from phasen_sb.utils.file_names import (
    CARD,
    CHECKPOINTS,
    DATA_RECORD,
    DESCRIPTION,
    RESULTS,
    WEIGHTS,
)
from phasen_sb.utils.files import read_json
from phasen_sb.utils.folders import nearest_sibling

#: Holds the exported models that ship with the package, by name.
SHIPPED = Path(__file__).parent
#: The one that is used where none is named.
DEFAULT_MODEL = SHIPPED / "default"

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
#: Bytes of a description, card or results that nobody vouches for.
MOST_TEXT = 16 * 2**20
AVERAGED = "averaged.ckpt"
AVERAGE_PREFIX = "module."


@dataclass
class StoredModel:
    """A model's description, weights and history."""

    description: Description
    state: dict[str, torch.Tensor]
    #: Where it comes from, for errors and the model card.
    source: str
    #: What ``results.json`` says of exactly these weights; empty if nothing.
    results: dict = field(default_factory=dict)
    #: The settings of the training; empty if they are not known.
    settings: dict = field(default_factory=dict)
    #: What ``data.json`` says of the training data.
    data: dict = field(default_factory=dict)
    #: The model card of an earlier export, kept as it is.
    card: str | None = None

    def build(self) -> torch.nn.Module:
        """Builds the enhancer with its weights.

        It is on the CPU, in fp32 and in evaluation mode. Raises UserError if
        it cannot be built, or the weights are another network's.
        """
        enhancer = self.description.build(self.source, self.state)
        load_state(enhancer, self.state, self.source)
        return enhancer.eval()


def is_run(folder: str | os.PathLike) -> bool:
    """Whether a folder looks like the output folder of a training run."""
    return (Path(folder) / CHECKPOINTS).is_dir()


def is_export(folder: str | os.PathLike) -> bool:
    """Whether a folder looks like an exported model."""
    folder = Path(folder)
    return (folder / DESCRIPTION).is_file() and (folder / WEIGHTS).is_file()


def list_shipped() -> list[str]:
    """The names of the models that ship with the package.

    Example
    -------
    >>> "default" in list_shipped()
    True
    """
    return sorted(path.name for path in SHIPPED.iterdir() if is_export(path))


def read_model(
    source: str | os.PathLike | None = None, trust: bool = False
) -> StoredModel:
    """Reads a stored model, whatever kind it is.

    ``source`` is the output folder of a training run, an exported model, the
    name of a model that ships with the package, or one on the Hugging Face hub;
    by default the shipped ``default``. A folder with a model takes precedence
    over a shipped model of its name. Without ``trust``, nothing that the folder
    holds is executed. Raises UserError if there is no such model, it is
    damaged, or refused.
    """
    folder = DEFAULT_MODEL if source is None else _find_folder(source)
    if is_export(folder) and not is_run(folder):
        return read_export(folder, trust)
    return read_run(folder, trust)


def read_export(folder: Path, trust: bool = False) -> StoredModel:
    """Reads what ``phasen export`` wrote; raises UserError if it is damaged."""
    if not trust:
        check_files(folder)
    card = folder / CARD
    return StoredModel(
        read_description(folder / DESCRIPTION, trust),
        read_state(folder / WEIGHTS, trust),
        str(folder),
        _read_json(folder / RESULTS),
        card=card.read_text("utf-8", "replace") if card.is_file() else None,
    )


def read_run(folder: Path, trust: bool = False) -> StoredModel:
    """Reads the best checkpoint of a training run.

    That is the one with the highest PESQ on the validation set, and of it
    the averaged weights, which are what was validated. Raises UserError if the
    folder holds no finished checkpoint, or one that is not finite.
    """
    if not is_run(folder):
        raise UserError(
            f"{folder} is neither an exported model nor a training run, which "
            f"has a folder '{CHECKPOINTS}'; give what phasen export wrote, or "
            "the output_folder of recipes/train.py."
        )
    if not trust:
        check_files(folder)
    # Exported models load without SpeechBrain, which is slow to import.
    from speechbrain.utils.checkpoints import Checkpointer

    try:
        best = Checkpointer(folder / CHECKPOINTS).find_checkpoint(
            max_key=SELECTION_METRIC
        )
    except (YAMLError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"The checkpoints in {folder / CHECKPOINTS} cannot be read "
            f"({str(error).splitlines()[0]}); delete the damaged one."
        ) from error
    if best is None:
        raise UserError(
            f"{folder}/{CHECKPOINTS} holds no checkpoint that was validated; "
            "let the training finish at least one epoch."
        )
    averaged = read_state(best.path / AVERAGED, trust)
    averaged.pop("n_averaged", None)
    state = {
        name.removeprefix(AVERAGE_PREFIX): tensor
        for name, tensor in averaged.items()
    }
    check_finite(state, str(best.path / AVERAGED))
    description = read_description(folder / DESCRIPTION, trust)
    return StoredModel(
        description,
        state,
        str(folder),
        _read_results(folder, best.meta),
        description.settings,
        _read_json(folder / CHECKPOINTS / DATA_RECORD),
    )


def check_files(folder: Path) -> None:
    """Refuses a model whose files are elsewhere, huge, or no files.

    Links may stay within the folder; in the hub's cache, within that of the
    model's repository.
    """
    root = folder.resolve()
    repository = root.parents[1] if len(root.parents) > 1 else root
    if root.parent.name == "snapshots" and "--" in repository.name:
        root = repository
    for path in (
        *(folder / name for name in (DESCRIPTION, WEIGHTS, CARD, RESULTS)),
        folder / CHECKPOINTS / DATA_RECORD,
        *(folder / CHECKPOINTS).glob(f"CKPT+*/{AVERAGED}"),
        *(folder / CHECKPOINTS).glob("CKPT+*/CKPT.yaml"),
    ):
        check_file(path, root)


def check_file(path: Path, root: Path) -> None:
    """Refuses text of a stranger that is huge, no file, or elsewhere.

    The file must be within ``root``, whose links are followed already; one
    that does not exist passes, and the size of weights is not looked at.
    Raises :class:`phasen_sb.models.safe_description.Untrusted` or another
    :class:`phasen_sb.errors.UserError`.
    """
    try:
        real = path.resolve(strict=True)
        status = real.stat()
    except FileNotFoundError:
        return
    except (OSError, RuntimeError) as error:  # a circle of links
        raise UserError(f"{path} cannot be read: {error}.") from error
    if root not in real.parents:
        raise Untrusted(
            f"{path} is a link to {real}, which is not in {root}; copy "
            f"the file into it, or, {TRUST}."
        )
    if not S_ISREG(status.st_mode):
        raise UserError(f"{path} is not a file; remove it.")
    if path.suffix != ".ckpt" and status.st_size > MOST_TEXT:
        raise Untrusted(
            f"{path} is larger than {MOST_TEXT / 2**20:.0f} MB, too large "
            f"for text about a model; {TRUST}."
        )


def _find_folder(source):
    folder = Path(source).expanduser()
    shipped = list_shipped()
    is_model = is_export(folder) or is_run(folder)
    if str(source) in shipped and not is_model:
        return SHIPPED / str(source)
    if folder.is_dir():
        return folder
    near = nearest_sibling(folder)
    hint = f"did you mean {near}?" if near else "check the path."
    if re.fullmatch(r"\w+", str(source)):
        raise UserError(
            f"There is no folder {folder}, and no model of that name ships "
            f"with this version, only {', '.join(shipped)}; {hint}"
        )
    if folder.parent.exists() or not HUB_NAME.fullmatch(str(source)):
        raise UserError(f"There is no folder {folder}; {hint}")
    import huggingface_hub  # slow to import, and seldom needed

    try:
        return Path(
            huggingface_hub.snapshot_download(
                str(source),
                allow_patterns=[DESCRIPTION, WEIGHTS, CARD, RESULTS],
            )
        )
    # The hub's client raises many kinds of errors of its own.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error) else error
        raise UserError(
            f"There is no folder {source}, and the Hugging Face hub gave no "
            f"model of that name ({reason}); {hint}"
        ) from error


def _read_results(folder, meta):
    results = _read_json(folder / RESULTS)
    if results.get("epoch") == meta.get("epoch"):
        return results
    # The training went on after the test: only the validation is of these.
    scores = {
        name.removeprefix("valid_"): value
        for name, value in meta.items()
        if name.startswith("valid_")
    }
    return {"epoch": meta.get("epoch"), "valid": {"enhanced": scores}}


def _read_json(path):
    fix = "delete it, or run the training again, which writes it again"
    content = read_json(path, fix) if path.exists() else {}
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a table of results; {fix}.")
    return content
