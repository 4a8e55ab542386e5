"""The average of the weights is what gets evaluated."""

import torch

from phasen_sb import PHASEN
from phasen_sb.training.averaging import WeightAverage


def test_evaluating_the_average_does_not_change_it():
    net = PHASEN(32, 4, 2, 1, recurrent_units=4, dense_units=8).train()
    average = WeightAverage(net, decay=0.9)
    for _ in range(2):
        net(torch.randn(1, 10, 17, 2))
        average.update_parameters(net)
    before = {k: v.clone() for k, v in average.state_dict().items()}
    x = torch.randn(1, 10, 17, 2)
    first = average.module(x).spectrogram
    assert torch.equal(first, average.module(x).spectrogram)
    for name, tensor in average.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_counters_are_copied():
    net = torch.nn.BatchNorm1d(2)
    average = WeightAverage(net, decay=0.5)
    for _ in range(3):
        net(torch.randn(4, 2))
        average.update_parameters(net)
    assert average.module.num_batches_tracked == 3
