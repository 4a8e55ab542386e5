"""The record of a run: that it is resumed as itself, and what it found.

Authors
 * The phasen_sb authors 2026
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from phasen_sb.brain import SELECTION_METRIC, EnhancementBrain
from phasen_sb.errors import UserError
from phasen_sb.results import (
    draw_spectrograms,
    provenance,
    summarise,
    write_audio,
    write_json,
    write_scores,
)

logger = logging.getLogger(__name__)

#: Settings that a resumed run may change: they do not enter the weights, or
#: only lengthen the training.
MAY_CHANGE = {
    "number_of_epochs",
    "num_workers",
    "data_jobs",
    "metrics",
    "metric_jobs",
    "metric_timeout",
    "pictured_utterances",
    "use_tensorboard",
    "precision",
    "ckpt_interval_minutes",
}


def check_same_run(hparams: Mapping) -> None:
    """Refuses to resume a run with other settings, data or sizes.

    Otherwise the checkpoints of one experiment would silently become the
    start of another.

    Arguments
    ---------
    hparams : dict
        The loaded YAML; the settings are kept in ``settings.json`` of its
        ``save_folder``.

    Raises
    ------
    phasen_sb.errors.UserError
        If the folder holds checkpoints made with other settings.
    """
    folder = Path(hparams["save_folder"])
    record = folder / "settings.json"
    settings = _settings(hparams, folder)
    if record.is_file() and any(folder.glob("CKPT+*")):
        before = json.loads(record.read_text(encoding="utf-8"))
        for key in sorted(set(before) | set(settings)):
            old, new = before.get(key), settings.get(key)
            if old != new and key not in MAY_CHANGE:
                raise UserError(
                    f"{hparams['output_folder']} holds a run with {key} "
                    f"{old!r}, not {new!r}; give another --output_folder, "
                    "or delete that folder to start anew."
                )
    write_json(record, settings)


def write_results(brain: EnhancementBrain, datasets: Mapping) -> dict:
    """Writes ``results.json``, ``scores.csv``, audio and spectrograms.

    Arguments
    ---------
    brain : EnhancementBrain
        After ``score_noisy`` and ``evaluate``.
    datasets : dict
        With the ``test`` set.

    Returns
    -------
    dict
        The content of ``results.json``.
    """
    folder = Path(brain.results_folder)
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
        "seed": brain.hparams.seed,
        "precision": brain.precision,
        "device": str(brain.device),
    } | provenance()
    write_audio(
        folder / "enhanced", brain.test_waves, brain.hparams.sample_rate
    )
    write_scores(folder / "scores.csv", brain.noisy["test"], brain.report)
    rows = {}
    test = datasets["test"]
    for key in islice(brain.test_waves, brain.hparams.pictured_utterances):
        item = test[test.data_ids.index(key)]
        rows[key] = {
            "noisy": item["noisy_sig"].numpy(),
            "enhanced": brain.test_waves[key],
            "clean": item["clean_sig"].numpy(),
        }
    if rows:
        draw_spectrograms(
            folder / "spectrograms.png", rows, brain.hparams.sample_rate
        )
    # Last: where it is, everything else is.
    write_json(folder / "results.json", results)
    logger.info(f"Results are in {folder}\n{format_table(results)}")
    return results


def format_table(results: Mapping) -> str:
    """The test scores as text, noisy beside enhanced.

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


def _settings(hparams, folder):
    plain = (str, int, float, bool, list, type(None))
    settings = {
        key: value
        for key, value in hparams.items()
        if isinstance(value, plain)
        and not key.endswith("_folder")
        and key != "train_log"
    }
    digest = hashlib.sha256()
    for name in ("train.json", "valid.json", "test.json"):
        digest.update((folder / name).read_bytes())
    settings["data"] = digest.hexdigest()[:16]
    shapes = {
        name: list(tensor.shape)
        for name, tensor in hparams["modules"]["enhancer"].state_dict().items()
    }
    text = json.dumps(shapes).encode()
    settings["network"] = hashlib.sha256(text).hexdigest()[:16]
    # As JSON will give it back.
    return json.loads(json.dumps(settings))
