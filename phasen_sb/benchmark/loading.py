"""Measures how fast training data is decoded, cropped and remixed."""

import tempfile
from time import perf_counter

import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import make_dataloader
from torch.utils.data import ConcatDataset

from phasen_sb.augmentation import AugmentedBatches, Remix
from phasen_sb.data import make_datasets, prepare_data
from phasen_sb.data.corpus_placement import place_corpus

#: Batches whose time is measured, after the first, which starts the worker.
BATCHES = 100


def measure_loading(
    batch: int, seconds: float, device: str | None = None
) -> float:
    """Measures the time (s) that one worker needs for a batch of crops.

    ``batch`` is a number of utterances, ``seconds`` the length of a crop (s).
    Utterances of the sample corpus that are shorter count with their own
    length. With a device, its memory holds the corpus, and this process makes
    the batches there.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        prepare_data(folder, jobs=1)
        data = make_datasets(
            folder, crop_seconds=seconds, corpus_on_device=device is not None
        )["train"]
        rounds = -(-(BATCHES + 1) * batch // len(data))
        data, options = place_corpus(
            data, device or "cpu", {"batch_size": batch, "num_workers": 1}
        )
        options["collate_fn"] = AugmentedBatches(
            Remix(0, 20),
            seed=0,
            collate=options.get("collate_fn", PaddedBatch),
        )
        loader = make_dataloader(
            ConcatDataset([data] * rounds), shuffle=True, **options
        )
        batches = iter(loader)
        next(batches)
        samples = 0
        started = perf_counter()
        for _ in range(BATCHES):
            noisy = next(batches).noisy_sig
            samples += float(noisy.lengths.sum()) * noisy.data.shape[1]
        if device == "cuda":
            torch.cuda.synchronize()
        taken = perf_counter() - started
        return taken / samples * 16000 * batch * seconds
