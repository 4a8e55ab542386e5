"""The record of a run: its settings and data, which must not change."""

import hashlib
import os
import pydoc
from collections.abc import Mapping
from pathlib import Path

from speechbrain.utils.run_opts import RunOptions

from phasen_sb.configuration.keys import REMOVED, keys_with
from phasen_sb.configuration.recipe import Recipe
from phasen_sb.errors import UserError
from phasen_sb.utils.file_names import SETTINGS
from phasen_sb.utils.files import read_json, write_atomically, write_json

#: What :mod:`phasen_sb.data` writes into the save folder. The first holds the
#: path of the data, which may change.
MANIFESTS = ("data", "train", "valid", "test", "noise")


def settings_of(recipe: Recipe, run_opts: RunOptions) -> dict:
    """Collects what decides the outcome of a run, apart from its data.

    The result is ready for JSON, without paths, and without the keys that a
    resumed run may change.

    Example
    -------
    >>> recipe = Recipe.read("phasen.yaml", "lr: 0.1")
    >>> settings_of(recipe, RunOptions())["opt_class"]
    {'!tag': '!name:torch.optim.Adam', 'lr': 0.1}
    """
    free = keys_with("may_change")
    # Blank, not absent, so that they vanish where other keys refer to them.
    blank = {
        key: "" for key in recipe.keys if key in free or key.endswith("_folder")
    }
    settings = recipe.resolve(blank)
    settings = {k: v for k, v in settings.items() if k not in blank}
    settings["grad_accumulation_factor"] = run_opts.grad_accumulation_factor
    if "max_grad_norm" in run_opts.overridden_args:
        settings["max_grad_norm"] = run_opts.max_grad_norm
    settings["processes"] = int(os.environ.get("WORLD_SIZE", 1))
    return settings


def check_same_run(
    hparams: Mapping, settings: Mapping, test_only: bool = False
) -> None:
    """Refuses to resume a run with other settings; writes nothing.

    Otherwise one experiment would silently continue from the checkpoints of
    another. ``settings`` are from :func:`settings_of`; with ``test_only`` the
    number of processes may differ. Raises UserError if the folder holds
    checkpoints made with other settings.
    """
    before = _settings_before(Path(hparams["save_folder"]))
    if before is None:
        return
    before.pop("data", None)
    for key, left in REMOVED.items():
        if before.get(key) == left:
            del before[key]
    if test_only:
        before["processes"] = settings["processes"]
    change = _change(before, settings)
    if change is not None:
        raise UserError(
            f"{hparams['output_folder']} holds a run with "
            f"{change}; give another --output_folder, or delete that folder "
            "to start over."
        )


def prepare_run(
    hparams: Mapping, settings: Mapping, test_only: bool = False
) -> None:
    """Prepares the data, and records what the run is made of.

    Calls ``prepare_data`` of the loaded YAML, and keeps the settings, from
    :func:`settings_of`, in ``settings.json`` of the ``save_folder``;
    ``test_only`` leaves an existing record as it is. Raises UserError if the
    folder holds checkpoints made with other data, whose manifests are restored.
    """
    folder = Path(hparams["save_folder"])
    manifests = [*(folder / f"{name}.json" for name in MANIFESTS)]
    before = _settings_before(folder)
    kept = {path: path.read_bytes() for path in manifests if path.is_file()}
    hparams["prepare_data"]()
    data = hashlib.sha256()
    for path in manifests[1:]:
        if path.is_file():
            data.update(path.read_bytes())
    digest = data.hexdigest()[:16]
    if before is not None and before.get("data") not in (None, digest):
        for path in manifests:
            if path in kept:
                write_atomically(path, kept[path])
            else:
                path.unlink(missing_ok=True)
        raise UserError(
            f"{hparams['output_folder']} holds a run with other data; give "
            "another --output_folder, or delete that folder to start over."
        )
    if before is None or not test_only:
        write_json(folder / SETTINGS, {**settings, "data": digest})


def _settings_before(folder):
    record = folder / SETTINGS
    if not record.is_file() or not any(folder.glob("CKPT+*")):
        return None
    return read_json(record, f"delete {folder.parent} to start over")


def _change(old, new, name=""):
    """Describes the first difference between settings; None: no difference."""
    old, new = _without_idle(old), _without_idle(new)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if isinstance(old, dict) and isinstance(new, dict):
        changes = (
            _change(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
            for key in [*old, *(key for key in new if key not in old)]
        )
        return next((change for change in changes if change), None)
    # Older records lack newer settings, which change nothing when off.
    same = old == new or (old is None and not new) or _is_moved(old, new)
    return None if same else f"{name} {old!r}, not {new!r}"


def _without_idle(setting):
    """Leaves out objects of a list whose probability is 0: they do nothing.

    Newer recipes have more of them, such as effects of the augmentation.
    """
    if not isinstance(setting, list):
        return setting
    return [
        item
        for item in setting
        if not (
            isinstance(item, dict)
            and "!tag" in item
            and item.get("probability") == 0
        )
    ]


def _is_moved(old, new):
    """Tells whether two YAML tags name the same object, which has moved."""
    if not (isinstance(old, str) and isinstance(new, str)):
        return False
    (kind, _, old), (new_kind, _, new) = old.partition(":"), new.partition(":")
    if kind != new_kind or kind not in ("!new", "!name", "!apply"):
        return False
    try:
        found = pydoc.locate(old)  # as HyperPyYAML does
        return found is not None and found is pydoc.locate(new)
    except pydoc.ErrorDuringImport:
        return False
