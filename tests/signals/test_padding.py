"""Frames are counted and marked as valid exactly."""

import pytest
import torch

from phasen_sb.signals.padding import mark_valid_frames


@pytest.mark.parametrize("frames", [1, 7, 161, 481, 1601])
def test_valid_frames_give_every_frame_count_back(frames):
    counts = torch.arange(1, frames + 1)
    valid = mark_valid_frames(counts / frames, frames)
    assert valid.shape == (frames, 1, frames, 1)
    assert torch.equal(valid.sum((1, 2, 3)).long(), counts)
    assert torch.equal(valid[0].flatten().nonzero(), torch.tensor([[0]]))


def test_valid_frames_leave_every_utterance_a_frame():
    valid = mark_valid_frames(torch.tensor([1.0, 1e-4]), 10)
    assert valid.sum((1, 2, 3)).tolist() == [10, 1]
