"""The filter over neighbours, with known answers."""

import pytest
import torch
from helpers.signals import noise

from phasen_sb.network.neighbour_filter import NeighbourFilter


def tap(neighbours, neighbour, value):
    """Taps that are zero but for one neighbour of each bin."""
    taps = torch.zeros(1, 10, 9, 2 * len(neighbours.neighbours))
    real, imag = taps.chunk(2, dim=-1)
    index = neighbours.neighbours.index(neighbour)
    real[..., index], imag[..., index] = value.real, value.imag
    return taps


@pytest.mark.parametrize(
    ("neighbour", "causal"),
    [((-1, 2), False), ((1, -1), False), ((0, 1), True), ((-2, 0), True)],
)
def test_one_tap_moves_and_turns_the_spectrogram(neighbour, causal):
    neighbours = NeighbourFilter(4, (3, 5), causal)
    x = noise(1, 10, 9, 2)
    found = neighbours.apply_taps(tap(neighbours, neighbour, 2 + 1j), x)
    found = torch.view_as_complex(found)[0]
    noisy = torch.view_as_complex(x)[0]
    for frame in range(10):
        for bin in range(9):
            there = frame + neighbour[0], bin + neighbour[1]
            expected = 0.0
            if 0 <= there[0] < 10 and 0 <= there[1] < 9:
                expected = (2 + 1j) * noisy[there]
            assert abs(found[frame, bin] - expected) < 1e-5


def test_the_bin_itself_and_the_future_of_a_causal_filter_have_no_tap():
    assert len(NeighbourFilter(4, (3, 3)).neighbours) == 8
    causal = NeighbourFilter(4, (3, 3), causal=True).neighbours
    assert len(causal) == 8
    assert max(causal) == (0, 1) and (0, 0) not in causal


def test_it_learns_to_cancel_what_neighbours_tell():
    """What leaked from the next bin is removed, which no mask could do."""
    neighbours = NeighbourFilter(1, (1, 3))
    clean, leaking = noise(1, 20, 9, 2), noise(1, 20, 9, 2, seed=1)
    leaking[:, :, ::2] = 0.0
    clean[:, :, 1::2] = 0.0
    noisy = clean + leaking + 0.5 * leaking.roll(-1, 2)
    features = torch.zeros(1, 1, 20, 9)
    features[..., ::2] = 1.0  # where the clean bins are
    optimizer = torch.optim.Adam(neighbours.parameters(), lr=0.05)
    for _ in range(150):
        out = noisy + neighbours.apply_taps(neighbours(features), noisy)
        loss = (out - clean)[:, :, :-1:2].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1e-3 * (noisy - clean)[:, :, :-1:2].square().mean()
