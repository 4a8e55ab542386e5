"""Loads models: exported ones, training runs, those of the hub."""

import os
import re
import tempfile
from pathlib import Path

from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.fetching import LocalStrategy

from phasen_sb.errors import UserError

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def load(
    interface: type[Pretrained],
    source: str | os.PathLike,
    options: dict[str, str],
) -> Pretrained:
    """Loads a model into one of SpeechBrain's inference classes.

    Arguments
    ---------
    interface : type
        The class, such as :class:`Enhancer`.
    source : path
        An exported model, a training run, or a name on the hub.
    options : dict
        From :func:`run_options`.

    Returns
    -------
    interface

    Raises
    ------
    UserError
        If there is no such model, or it is damaged.
    """
    # Imported here: a model that is exported already needs none of it.
    from phasen_sb.export.folder import write_export
    from phasen_sb.models.stored import is_export, is_run, read_model

    folder = Path(source).expanduser()
    if not folder.parent.exists() and HUB_NAME.fullmatch(str(source)):
        return _from_hub(interface, str(source), options)
    if is_export(folder) and not is_run(folder):
        return _from_folder(interface, folder, options)
    model = read_model(folder)
    with tempfile.TemporaryDirectory(prefix="phasen-") as temporary:
        exported = write_export(model, Path(temporary) / folder.name)
        return _from_folder(interface, exported, options)


def _from_folder(interface, folder, options):
    try:
        return interface.from_hparams(
            source=str(folder),
            run_opts=options,
            local_strategy=LocalStrategy.NO_LINK,
        )
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, ImportError) as error:
        raise UserError(
            f"{folder}/hyperparams.yaml cannot be loaded: {error}; export the "
            "model again."
        ) from error


def _from_hub(interface, name, options):
    try:
        return interface.from_hparams(source=name, run_opts=options)
    # The hub's client raises many kinds of errors of its own.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error) else error
        raise UserError(
            f"There is no folder {name}, and no model of that name could be "
            f"had from the Hugging Face hub ({reason})."
        ) from error
