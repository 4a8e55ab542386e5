"""What batches a Brain trains on: augmented, whoever loads them."""

import pytest
import speechbrain as sb
import torch
from helpers.small_brain import Stream, batches

from phasen_sb.errors import UserError


def test_loader_processes_augment_batches(make_brain):
    brain = make_brain(remix_probability=1.0, speed_probability=0.5)
    alone, beside = batches(brain), batches(brain, num_workers=1)
    recorded = batches(make_brain())
    for one, other, plain in zip(alone, beside, recorded, strict=True):
        assert one.id == other.id == plain.id
        assert torch.equal(one.noisy_sig.data, other.noisy_sig.data)
        assert not torch.equal(one.noisy_sig.data, plain.noisy_sig.data)


def test_ready_loader_is_augmented(make_brain):
    brain = make_brain(remix_probability=1.0, number_of_epochs=2)
    seen = []
    brain.on_fit_batch_start = lambda batch, _: seen.append(
        batch.noisy_sig.data
    )
    loader = sb.dataio.dataloader.make_dataloader(
        brain.datasets["train"], batch_size=2, num_workers=1
    )
    read = list(loader)
    plain = [batch.noisy_sig.data for batch in read]
    brain.fit(brain.hparams.epoch_counter, loader)
    once = loader.collate_fn
    brain.fit(brain.hparams.epoch_counter, loader)
    assert loader.collate_fn is once  # not twice
    for one, other, recorded in zip(seen[:4], seen[4:], plain, strict=True):
        assert not torch.equal(one, recorded)
        assert not torch.equal(one, other)  # of the second epoch
    stream = brain.make_dataloader(
        Stream(read), sb.Stage.TRAIN, None, batch_size=None
    )
    for batch, before in zip(stream, plain, strict=True):
        assert batch.noisy_sig.data.shape == before.shape
        assert not torch.equal(batch.noisy_sig.data, before)


def test_loader_processes_are_started_for_each_epoch(make_brain):
    brain = make_brain()
    kept = {"num_workers": 1, "persistent_workers": True}
    with pytest.raises(UserError, match="persistent_workers is on"):
        batches(brain, **kept)
    loader = sb.dataio.dataloader.make_dataloader(
        brain.datasets["train"], batch_size=2, **kept
    )
    with pytest.raises(UserError, match="persistent_workers is on"):
        brain.fit(brain.hparams.epoch_counter, loader)
