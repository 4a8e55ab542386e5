"""HopStep gives, hop by hop, what the enhancer gives of the whole signal."""

import pytest
import torch
from helpers.causal_model import FRONT_ENDS, build
from helpers.signals import noise

from phasen_sb.models.hop_step import HopStep


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize(
    "win_length, hop_length, late, normalize",
    [
        (32, 16, 0, "running"),
        (32, 16, 2, "running"),
        (32, 8, 2, False),  # several frames see the first sample
        (25, 16, 1, False),  # a frame ends before its hop does
        (20, 6, 0, "running"),
        (20, 6, 2, "running"),
        (16, 16, 0, False),  # frames do not overlap
    ],
)
def test_hops_come_out_as_of_the_whole_signal(
    front_end, win_length, hop_length, late, normalize
):
    model = build(front_end, late, win_length, normalize, hop_length)
    step = HopStep(model)
    wave = noise(1, 30 * step.hop_length).float()
    wave[0, 70] = torch.nan
    states, hops = step.first_states(), []
    with torch.inference_mode():
        expected = model(wave.nan_to_num())[0][0]
        for hop in wave[0].split(step.hop_length):
            enhanced, states = step(hop, states)
            hops.append(enhanced)
    out = torch.cat(hops)
    assert not out[: step.delay].any()
    out = out[step.delay :]
    assert len(out) > 500 and out.abs().max() > 0.1
    assert torch.allclose(out, expected[: len(out)], atol=1e-5)


def test_models_that_are_not_causal_are_refused():
    with pytest.raises(ValueError, match="whole utterance.*phasen_live.yaml"):
        HopStep(build("speechbrain", normalize=True))
    with pytest.raises(ValueError, match="is a PHASEN; only"):
        HopStep(build("speechbrain").network)
