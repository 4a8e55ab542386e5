"""SpeechBrain data sets whose random draws survive a restart.

Every draw comes from a generator seeded with (seed, epoch, utterance id)
alone: the number of workers, the order of the utterances and earlier draws do
not matter. A training that was killed and resumed in the middle of an epoch
therefore gets the crops and mixtures it would have got.
"""

from operator import itemgetter
from pathlib import Path

import torch
from speechbrain.dataio.dataset import DynamicItemDataset

from phasen_sb.data.manifest import read_manifest, read_record
from phasen_sb.data.mixing import MixLoader, OtherNoiseLoader, PairLoader
from phasen_sb.data.shard_stream import ShardDataset
from phasen_sb.data.shards import Shard
from phasen_sb.errors import UserError
from phasen_sb.utils.seeding import seeded_generator

SIGNALS = ("noisy_sig", "clean_sig")


def make_datasets(
    save_folder: str | Path,
    sample_rate: int = 16000,
    crop_seconds: float | None = None,
    seed: int = 0,
    epoch_counter=None,
    corpus_on_device: bool | str = False,
) -> dict[str, "PairDataset | ShardDataset"]:
    """Makes the three data sets from what a prepare function wrote.

    Training utterances are cropped at random, or taken whole where they are
    shorter, so batches are unequal; those of validation and test are whole
    and always the same.

    Arguments
    ---------
    save_folder : str or pathlib.Path
        Folder of the manifests.
    sample_rate : int
        The rate the network works at (Hz), as prepared.
    crop_seconds : float, optional
        Length of a training crop (s); whole utterances without it.
    seed : int
        Determines the crops and mixtures of training.
    epoch_counter : speechbrain.utils.epoch_loop.EpochCounter, optional
        Its ``current`` is read whenever an item is loaded, which gives other
        crops and mixtures each epoch. Workers know the epoch in which they
        were started, so ``persistent_workers`` must not be set.
    corpus_on_device : bool or str
        Whether the Brain decodes all training files into the memory of its
        device, and crops and mixes there instead of in a loader's processes;
        ``"auto"``: on a GPU, where they take little of its free memory.

    Returns
    -------
    dict
        ``train``, ``valid`` and ``test``, each with the output keys ``id``,
        ``noisy_sig`` and ``clean_sig``: float32 tensors ``[samples]`` of equal
        length. ``train`` of shards is a
        :class:`phasen_sb.data.shard_stream.ShardDataset`.

    Raises
    ------
    UserError
        If nothing was prepared, or at another rate, or the crop is empty.

    Example
    -------
    >>> from phasen_sb.data import prepare_data
    >>> folder = getfixture("tmp_path")
    >>> _ = prepare_data(folder)
    >>> datasets = make_datasets(folder, crop_seconds=1.0)
    >>> datasets["train"][0]["noisy_sig"].shape
    torch.Size([16000])
    """
    record = read_record(save_folder)
    if record["sample_rate"] != sample_rate:
        raise UserError(
            f"The data in {save_folder} was prepared at "
            f"{record['sample_rate']} Hz, but sample_rate is {sample_rate}; "
            "prepare it again or change sample_rate."
        )
    crop = None
    if crop_seconds is not None:
        crop = round(crop_seconds * sample_rate)
        if crop < 1:
            raise UserError(
                f"crop_seconds is {crop_seconds}; give a positive length in "
                "seconds, or null for whole utterances."
            )
    root = record["data_root"]
    noises = {}
    if "noise" in record["splits"]:
        noises = read_manifest(save_folder, "noise", root)
    datasets = {}
    for split in ("train", "valid", "test"):
        train = split == "train"
        # Validation and test get the same draws in every epoch.
        draw = RandomDraw(seed, epoch_counter) if train else seeded_generator
        crop_here = crop if train else None
        files = [
            (entry["noise_wav"], round(entry["length"] * sample_rate))
            for entry in noises.values()
            if split in entry["splits"]
        ]
        takes = ["id", "length", "noisy_wav", "clean_wav"]
        mixes = record["source"] == "mix"
        if mixes or files:
            load = (MixLoader if mixes else OtherNoiseLoader)(
                sample_rate,
                crop_here,
                draw,
                files,
                record["snr_low"],
                record["snr_high"],
            )
            if mixes:
                takes.remove("noisy_wav")
        else:
            load = PairLoader(sample_rate, crop_here, draw)
        if train and "train_shards" in record:
            if corpus_on_device is True:
                raise UserError(
                    "corpus_on_device is True, but shards are read while "
                    "training; give --corpus_on_device False."
                )
            shards = {
                kind: [Shard(**facts) for facts in listed]
                for kind, listed in record["train_shards"].items()
            }
            datasets[split] = ShardDataset(shards, load, seed, epoch_counter)
            continue
        datasets[split] = PairDataset(
            read_manifest(save_folder, split, root),
            load,
            takes,
            corpus_on_device if train else False,
        )
    return datasets


class PairDataset(DynamicItemDataset):
    """Pairs of noisy and clean speech, and what loads them.

    Arguments
    ---------
    entries : dict
        The manifest, from utterance id to entry.
    load : PairLoader
        Makes a pair of an entry.
    takes : list of str
        The parts of the entry that it takes.
    corpus_on_device : bool or str
        Whether training decodes all files first, see :func:`make_datasets`.
    """

    def __init__(
        self,
        entries: dict[str, dict],
        load: PairLoader,
        takes: list[str],
        corpus_on_device: bool | str = False,
    ):
        super().__init__(
            entries,
            dynamic_items=[
                {"func": load, "takes": takes, "provides": "pair"},
                *(
                    {
                        "func": itemgetter(index),
                        "takes": "pair",
                        "provides": key,
                    }
                    for index, key in enumerate(SIGNALS)
                ),
            ],
            output_keys=["id", *SIGNALS],
        )
        self.load = load
        self.corpus_on_device = corpus_on_device


class RandomDraw:
    """Gives each utterance another generator in each epoch.

    The epoch is read from ``epoch_counter``, SpeechBrain's ``EpochCounter``,
    at each call; without one it is 0.
    """

    def __init__(self, seed: int, epoch_counter=None):
        self.seed = seed
        self.epoch_counter = epoch_counter

    def __call__(
        self, utterance: str, device: torch.device | str = "cpu"
    ) -> torch.Generator:
        """Makes the generator of the utterance with an id."""
        counter = self.epoch_counter
        epoch = 0 if counter is None else counter.current
        return seeded_generator(f"{self.seed} {epoch} {utterance}", device)
