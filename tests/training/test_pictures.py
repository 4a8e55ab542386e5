"""Pictures show what they say."""

import numpy as np
import pytest
import torch

from phasen_sb import PHASEN
from phasen_sb.training import pictures


def test_frequency_transforms_show_what_training_changed(tmp_path, monkeypatch):
    network = PHASEN(n_fft=32, blocks=1, recurrent_units=4, dense_units=4)
    untrained = pictures.transform_matrices(network)
    with torch.no_grad():
        network.blocks[0].amplitude[4].transform.weight[3, 2] += 2
    drawn = []
    save = pictures.save_figure
    monkeypatch.setattr(
        pictures,
        "save_figure",
        lambda *words: (drawn.append(words[0]), save(*words)),
    )
    path = tmp_path / "transforms.png"
    pictures.draw_transforms(
        path, pictures.transform_matrices(network), untrained
    )
    first, _, second, corner = (
        np.asarray(axis.images[0].get_array())
        for axis in drawn[0].axes
        if axis.images and axis.get_xlabel() == "input bin"
    )
    expected = np.zeros((17, 17))
    expected[3, 2] = 2
    assert not first.any()
    assert second == pytest.approx(expected, abs=1e-6)
    assert corner == pytest.approx(expected[:4, :4], abs=1e-6)
    assert path.read_bytes().startswith(b"\x89PNG")
