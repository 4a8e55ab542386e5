"""Decides whether training reads files, or a corpus in the device's memory."""

from collections.abc import Mapping

import torch
from speechbrain.utils.distributed import ddp_broadcast
from speechbrain.utils.logger import get_logger
from torch.utils.data import Dataset

from phasen_sb.data.datasets import PairDataset
from phasen_sb.data.device_batches import DeviceBatches, Noises
from phasen_sb.data.device_corpus import BYTES_PER_SAMPLE, DeviceCorpus
from phasen_sb.data.mixing import MixLoader, OtherNoiseLoader
from phasen_sb.errors import UserError
from phasen_sb.utils.hardware import find_free_memory

logger = get_logger(__name__)

#: The part of the free memory that a corpus may take by itself; training needs
#: the rest.
SHARE = 0.25
#: What a loader without processes takes.
LOADER_KEYS = {"batch_size", "shuffle", "drop_last", "sampler", "batch_sampler"}


def place_corpus(
    dataset: Dataset, device: torch.device | str, loader_kwargs: Mapping
) -> tuple[Dataset, dict]:
    """Decodes a corpus into a device's memory, if that is wanted and it fits.

    Arguments
    ---------
    dataset : Dataset
        Of training. One of :func:`phasen_sb.data.datasets.make_datasets` says
        what is wanted; any other is left as it is.
    device : torch.device
        Where training computes.
    loader_kwargs : Mapping
        Of the loader that will make the batches. With a ``collate_fn`` among
        them the dataset is left as it is.

    Returns
    -------
    dataset : Dataset
        The one that was given, or
        :class:`phasen_sb.data.device_batches.DeviceBatches`.
    loader_kwargs : dict
        The arguments for its loader.

    Raises
    ------
    UserError
        If the corpus is to be there, but does not fit.

    Example
    -------
    >>> from phasen_sb.data import make_datasets, prepare_data
    >>> folder = getfixture("tmp_path")
    >>> _ = prepare_data(folder)
    >>> train = make_datasets(folder, corpus_on_device=True)["train"]
    >>> placed, options = place_corpus(train, "cpu", {"num_workers": 2})
    >>> len(placed), options["num_workers"]
    (20, 0)
    """
    options = dict(loader_kwargs)
    wanted = isinstance(dataset, PairDataset) and dataset.corpus_on_device
    if not wanted or "collate_fn" in options:
        return dataset, options
    device = torch.device(device)
    files = list_files(dataset)
    size = BYTES_PER_SAMPLE * sum(files.values())
    if not has_place(size, device, wanted):
        return dataset, options
    batches = make_batches(
        dataset,
        DeviceCorpus.decode(files, device),
        list(files),
        options.get("batch_size"),
    )
    kept = {key: options[key] for key in LOADER_KEYS & options.keys()}
    return batches, kept | {
        "collate_fn": batches.collate,
        "num_workers": 0,
        "pin_memory": False,
    }


def has_place(size: int, device: torch.device, wanted: bool | str) -> bool:
    """Decides whether a corpus of ``size`` bytes goes onto a device.

    Logs the decision. ``wanted`` is True or ``"auto"``; raises UserError if it
    is True and the corpus does not fit.
    """
    # Of the first process, so that all of them decide alike.
    free = ddp_broadcast(find_free_memory(device))
    takes = f"The training corpus takes {size / 1e6:,.0f} MB"
    limit = f"the {free / 1e6:,.0f} MB that are free on {device}"
    if size > free and wanted != "auto":
        raise UserError(
            f"{takes}, more than {limit}; give --corpus_on_device False."
        )
    refusal = None
    if wanted == "auto" and device.type != "cuda":
        refusal = "Training is not on a CUDA GPU"
    elif wanted == "auto" and size > SHARE * free:
        refusal = f"{takes}, over a quarter of {limit}"
    if refusal:
        logger.info(
            f"{refusal}, so files are decoded in each epoch "
            "(corpus_on_device: auto)."
        )
        return False
    logger.info(f"{takes} on {device} (corpus_on_device: {wanted}).")
    return True


def list_files(dataset: PairDataset) -> dict[str, int]:
    """Lists all files that training reads once each, with their samples."""
    files = {}
    for entry in dataset.data.values():
        samples = round(entry["length"] * dataset.load.sample_rate)
        for key in ("noisy_wav", "clean_wav"):
            if key in entry:
                files[entry[key]] = samples
    return files | dict(getattr(dataset.load, "noises", []))


def make_batches(
    dataset: PairDataset,
    corpus: DeviceCorpus,
    files: list[str],
    batch_size: int | None,
) -> DeviceBatches:
    """Makes the batches of a corpus that is decoded from ``files``."""
    load = dataset.load
    number = {path: index for index, path in enumerate(files)}
    entries = [dataset.data[utterance] for utterance in dataset.data_ids]
    noisy = noises = None
    if isinstance(load, MixLoader):
        noises = Noises(
            [number[path] for path, _ in load.noises],
            load.snr_low,
            load.snr_high,
            load.share,
        )
    if not isinstance(load, MixLoader) or isinstance(load, OtherNoiseLoader):
        noisy = [number[entry["noisy_wav"]] for entry in entries]
    return DeviceBatches(
        corpus,
        dataset.data_ids,
        [number[entry["clean_wav"]] for entry in entries],
        load.draw,
        noisy,
        noises,
        load.crop,
        batch_size,
    )
