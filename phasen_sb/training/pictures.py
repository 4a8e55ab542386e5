"""Pictures of a run: spectrograms, learning curves, frequency transforms."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from phasen_sb.network.blocks import FrequencyTransformBlock
from phasen_sb.signals.decibels import spectrogram_decibels
from phasen_sb.utils.figures import new_figure, save_figure


def draw_spectrograms(
    path: Path,
    rows: Mapping[str, Mapping[str, np.ndarray]],
    sample_rate: int,
) -> None:
    """Draws spectrograms, one utterance per row, one version per column.

    ``rows`` maps each utterance to its versions, ``{title: samples}``; the
    sample rate is in Hz.
    """
    columns = max(len(versions) for versions in rows.values())
    figure = new_figure(4.2 * columns, 2.4 * len(rows) + 0.6)
    axes = figure.subplots(
        len(rows), columns, squeeze=False, sharex="row", sharey=True
    )
    for line, (name, versions) in zip(axes, rows.items(), strict=True):
        decibels = {
            title: spectrogram_decibels(wave, sample_rate)
            for title, wave in versions.items()
        }
        # One scale per row, so that what was removed is darker.
        top = max(float(d.max()) for d in decibels.values())
        for axis, (title, values) in zip(line, decibels.items(), strict=True):
            seconds = len(versions[title]) / sample_rate
            image = axis.imshow(
                values,
                origin="lower",
                aspect="auto",
                cmap="magma",
                vmin=top - 80,
                vmax=top,
                extent=(0, seconds, 0, sample_rate / 2000),
            )
            axis.set_title(f"{name}: {title}", fontsize=9)
        line[0].set_ylabel("kHz")
        figure.colorbar(image, ax=line[-1], label="dB")
    for axis in axes[-1]:
        axis.set_xlabel("s")
    save_figure(figure, path)


def draw_curves(path: Path, train_log: str) -> None:
    """Draws loss and scores by epoch, from SpeechBrain's ``train_log.txt``.

    Takes the text of the log. Without an epoch in it, nothing is drawn.
    """
    curves = read_curves(train_log)
    losses = {name: c for name, c in curves.items() if name.endswith("loss")}
    scores = [
        name
        for name in curves
        if name.startswith("valid") and f"{name} noisy" in curves
    ]
    if not losses:
        return
    figure = new_figure(4.2 * (1 + len(scores)), 3.2)
    first, *others = figure.subplots(1, 1 + len(scores), squeeze=False)[0]
    for name, curve in losses.items():
        first.plot(*zip(*curve, strict=True), marker=".", label=name)
    first.legend(fontsize=8)
    for axis, name in zip(others, scores, strict=True):
        for label, line in ((name, "-"), (f"{name} noisy", ":")):
            curve = zip(*curves[label], strict=True)
            axis.plot(*curve, line, marker=".", label=label, color="C1")
        axis.legend(fontsize=8)
    for axis in (first, *others):
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    save_figure(figure, path)


def read_curves(train_log: str) -> dict[str, list[tuple[int, float]]]:
    """Reads the statistics of each epoch from the text of SpeechBrain's log.

    Returns ``{"train loss": [(epoch, value), ...], "valid pesq_wb": ...}``; the
    noisy input's scores follow as ``"valid pesq_wb noisy"``. The last line of
    an epoch counts.

    Example
    -------
    >>> read_curves("epoch: 2, lr: 1 - train loss: 0.5 - valid noisy_stoi: .9")
    {'train loss': [(2, 0.5)], 'valid stoi noisy': [(2, 0.9)]}
    """
    curves: dict[str, dict[int, float]] = {}
    for line in train_log.splitlines():
        epoch = re.match(r"epoch: (\d+)", line)
        if epoch is None:
            continue
        for split, name, value in re.findall(
            r"\b(train|valid) (\w+): ([-+.\deE]+|nan|inf)", line
        ):
            if name.startswith("noisy_"):
                name = f"{name.removeprefix('noisy_')} noisy"
            curve = curves.setdefault(f"{split} {name}", {})
            curve[int(epoch[1])] = float(value)
    return {name: sorted(curve.items()) for name, curve in curves.items()}


def transform_matrices(network: torch.nn.Module) -> dict[str, np.ndarray]:
    """Copies the matrices of all frequency transformation blocks, if any.

    Each is ``[output bins, input bins]``, under the name of its block.

    Example
    -------
    >>> from phasen_sb import PHASEN
    >>> matrices = transform_matrices(PHASEN(n_fft=64, blocks=1))
    >>> {name: matrix.shape for name, matrix in matrices.items()}
    {'blocks.0.amplitude.0': (33, 33), 'blocks.0.amplitude.4': (33, 33)}
    """
    return {
        name: module.transform.weight.detach().float().cpu().numpy().copy()
        for name, module in network.named_modules()
        if isinstance(module, FrequencyTransformBlock)
    }


def draw_transforms(
    path: Path,
    matrices: Mapping[str, np.ndarray],
    untrained: Mapping[str, np.ndarray],
) -> None:
    """Draws what training changed in the frequency transformation blocks.

    A row shows from which input bins an output bin is made. The paper, section
    "Frequency Transformation Block", finds lines through the origin there:
    harmonics that support each other. Random initial weights would hide them.

    Both mappings are from :func:`transform_matrices`; without matrices nothing
    is drawn. A training that started from another one's weights shows what both
    changed, if both had the same seed.
    """
    if not matrices:
        return
    figure = new_figure(8.4, 3.9 * len(matrices))
    axes = figure.subplots(len(matrices), 2, squeeze=False)
    for row, (name, matrix) in zip(axes, matrices.items(), strict=True):
        change = matrix - untrained[name]
        lowest = len(change) // 4
        for axis, part, title in (
            (row[0], change, f"{name}: change in training"),
            (row[1], change[:lowest, :lowest], "its lowest quarter"),
        ):
            limit = np.percentile(np.abs(part), 99.5) or 1.0
            image = axis.imshow(
                part, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit
            )
            axis.set_title(title, fontsize=9)
            axis.set_xlabel("input bin")
            axis.set_ylabel("output bin")
            figure.colorbar(image, ax=axis)
    save_figure(figure, path)
