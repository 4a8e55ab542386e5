"""The record of a run: settings and data, which must not change; results."""

import hashlib
import json
import logging
import os
import pydoc
from collections.abc import Mapping
from pathlib import Path

from speechbrain.utils.run_opts import RunOptions

from phasen_sb.configuration.keys import REMOVED, keys_with
from phasen_sb.configuration.recipe import Recipe
from phasen_sb.errors import UserError
from phasen_sb.metrics.selection import SELECTION_METRIC
from phasen_sb.training.brain import EnhancementBrain
from phasen_sb.training.pictures import (
    draw_curves,
    draw_spectrograms,
    draw_transforms,
    transform_matrices,
)
from phasen_sb.training.results import summarise, write_audio, write_scores
from phasen_sb.utils.file_names import RESULTS, SCORES_PER_FILE
from phasen_sb.utils.files import write_atomically, write_json
from phasen_sb.utils.provenance import provenance

logger = logging.getLogger(__name__)

#: What :mod:`phasen_sb.data` writes into the save folder. The first holds the
#: path of the data, which may change.
MANIFESTS = ("data", "train", "valid", "test", "noise")


def settings_of(recipe: Recipe, run_opts: RunOptions) -> dict:
    """Collects what decides the outcome of a run, apart from its data.

    Arguments
    ---------
    recipe : Recipe
        What is trained.
    run_opts : RunOptions
        Of the command line.

    Returns
    -------
    dict
        Ready for JSON, without paths, and without the keys that a resumed run
        may change.

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
    another.

    Arguments
    ---------
    hparams : dict
        The loaded YAML.
    settings : dict
        From :func:`settings_of`.
    test_only : bool
        Then the number of processes may differ.

    Raises
    ------
    phasen_sb.errors.UserError
        If the folder holds checkpoints made with other settings.
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

    Arguments
    ---------
    hparams : dict
        The loaded YAML; calls its ``prepare_data``.
    settings : dict
        From :func:`settings_of`; kept in ``settings.json`` of the
        ``save_folder``.
    test_only : bool
        Leave an existing record as it is.

    Raises
    ------
    phasen_sb.errors.UserError
        If the folder holds checkpoints made with other data; the manifests
        of that data are restored.
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
        write_json(folder / "settings.json", {**settings, "data": digest})


def _settings_before(folder):
    record = folder / "settings.json"
    if not record.is_file() or not any(folder.glob("CKPT+*")):
        return None
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{record} is damaged ({error}); delete {folder.parent} to start "
            "over."
        ) from error


def _change(old, new, name=""):
    """Describes the first difference between settings; None: no difference."""
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


def write_results(
    brain: EnhancementBrain, datasets: Mapping, untrained: Mapping
) -> dict:
    """Writes ``results.json``, ``scores.csv``, audio and pictures.

    Arguments
    ---------
    brain : EnhancementBrain
        After ``score_noisy`` and ``evaluate``.
    datasets : dict
        With the ``test`` set.
    untrained : dict
        The network's frequency transforms before the training, from
        :func:`phasen_sb.training.pictures.transform_matrices`.

    Returns
    -------
    dict
        The content of ``results.json``.
    """
    folder = Path(brain.hparams.output_folder)
    valid = {
        name.removeprefix("valid_"): value
        for name, value in brain.best.items()
        if name.startswith("valid_")
    }
    network = brain.enhancer.network
    results = {
        "test": {
            "noisy": summarise(brain.noisy["test"]),
            "enhanced": summarise(brain.report),
        },
        "valid": {
            "noisy": summarise(brain.noisy["valid"]),
            "enhanced": valid,
        },
        "selected_by": f"valid {SELECTION_METRIC}",
        "epoch": brain.best.get("epoch"),
        "optimizer_steps": brain.optimizer_step,
        "skipped_steps": brain.skipped_steps,
        "parameters": sum(p.numel() for p in network.parameters()),
        "losses": brain.objective.losses,
        "init_from": _last_part(getattr(brain.hparams, "init_from", None)),
        **{
            key: _last_part(getattr(brain.hparams, key, None))
            for key in ("extra_clean_folder", "extra_noise_folder")
        },
        "seed": brain.hparams.seed,
        "precision": brain.precision,
        "device": str(brain.device),
    } | provenance()
    write_audio(
        folder / "enhanced", brain.test_waves, brain.hparams.sample_rate
    )
    write_scores(folder / SCORES_PER_FILE, brain.noisy["test"], brain.report)
    rows = {}
    test = datasets["test"]
    for index, key in enumerate(test.data_ids):
        if len(rows) == brain.hparams.pictured_utterances:
            break
        if key not in brain.test_waves:  # with --debug
            continue
        item = test[index]
        rows[key] = {
            "noisy": item["noisy_sig"].numpy(),
            "enhanced": brain.test_waves[key],
            "clean": item["clean_sig"].numpy(),
        }
    if rows:
        draw_spectrograms(
            folder / "spectrograms.png", rows, brain.hparams.sample_rate
        )
    log = getattr(brain.hparams.train_logger, "save_file", None)
    if log is not None and Path(log).is_file():
        text = Path(log).read_text(encoding="utf-8")
        draw_curves(folder / "curves.png", text)
    draw_transforms(
        folder / "frequency_transforms.png",
        transform_matrices(brain.averaged.module.network),
        untrained,
    )
    # Last: where this file exists, all others do.
    write_json(folder / RESULTS, results)
    logger.info(f"Results are in {folder}\n{format_table(results)}")
    return results


def _last_part(folder):
    # Results are published; paths may be private.
    return None if folder is None else Path(str(folder)).name


def format_table(results: Mapping) -> str:
    """Formats the test scores, noisy beside enhanced.

    Example
    -------
    >>> print(format_table({"test": {"noisy": {"stoi": 0.8},
    ...                              "enhanced": {"stoi": 0.9}}}))
    test         noisy  enhanced
    stoi         0.800     0.900
    """
    noisy, enhanced = results["test"]["noisy"], results["test"]["enhanced"]
    lines = [f"{'test':10}{'noisy':>8}{'enhanced':>10}"]
    for name, value in noisy.items():
        if isinstance(value, float):
            ours = enhanced[name]
            ours = "failed" if ours is None else f"{ours:.3f}"
            lines.append(f"{name:10}{value:8.3f}{ours:>10}")
    return "\n".join(lines)
