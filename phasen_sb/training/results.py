"""The results of a run: scores, audio to listen to, and pictures.

Files are written in full or not at all.
"""

import csv
import io
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
import torch

from phasen_sb.metrics.checkpoint_selection import SELECTION_METRIC
from phasen_sb.metrics.metric_report import MetricReport
from phasen_sb.training.brain import EnhancementBrain
from phasen_sb.training.pictures import (
    draw_curves,
    draw_spectrograms,
    draw_transforms,
    transform_matrices,
)
from phasen_sb.training.summaries import summarise
from phasen_sb.utils.file_names import RESULTS, SCORES_PER_FILE
from phasen_sb.utils.files import write_atomically, write_json
from phasen_sb.utils.hardware import describe_device
from phasen_sb.utils.provenance import provenance

logger = logging.getLogger(__name__)


def write_results(
    brain: EnhancementBrain, datasets: Mapping, untrained: Mapping
) -> dict:
    """Writes ``results.json``, ``scores.csv``, audio and pictures.

    To be called after the Brain's ``score_noisy`` and ``evaluate``, with the
    ``test`` set among the datasets. ``untrained`` holds the network's frequency
    transforms before the training, from
    :func:`phasen_sb.training.pictures.transform_matrices`. Returns the content
    of ``results.json``.
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
        "hardware": describe_device(torch.device(brain.device)),
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


def write_scores(
    path: Path, noisy: MetricReport, enhanced: MetricReport
) -> None:
    """Writes a CSV line for each utterance; a failed score stays empty.

    Only the failures of the enhanced speech are written.
    """
    names = enhanced.metrics
    failures = enhanced.failures_by_key()
    text = io.StringIO()
    writer = csv.writer(text)
    header = ["id"]
    for name in names:
        header += [f"noisy_{name}", f"enhanced_{name}"]
    writer.writerow([*header, "failures"])
    for key in sorted(enhanced.scores):
        row = [key]
        for name in names:
            for report in (noisy, enhanced):
                value = report.scores.get(key, {}).get(name)
                row.append("" if value is None else f"{value:.4f}")
        writer.writerow([*row, failures.get(key, "")])
    write_atomically(path, text.getvalue())


def write_audio(
    folder: Path, waves: Mapping[str, np.ndarray], sample_rate: int
) -> None:
    """Writes waveforms, ``[time]``, as 32-bit float WAV, which never clips.

    Each becomes ``{key}.wav`` in the folder; the sample rate is in Hz.
    """
    for key, wave in waves.items():
        file = io.BytesIO()
        soundfile.write(file, wave, sample_rate, "FLOAT", format="WAV")
        write_atomically(folder / f"{key}.wav", file.getvalue())
