"""Training data that is read from shards, one epoch after the other."""

import itertools
import logging
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO

import soundfile as sf
import torch
from speechbrain.dataio.dataloader import LoopedLoader
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    register_checkpoint_hooks,
)
from torch.utils.data import DataLoader, IterableDataset

from phasen_sb.audio.reading import explain_decoding_error
from phasen_sb.data.mixing import PairLoader
from phasen_sb.data.shards import (
    BrokenShard,
    Sample,
    Shard,
    load_webdataset,
    read_shard,
)
from phasen_sb.errors import UserError
from phasen_sb.utils.seeding import seeded_generator

#: So many in a row that cannot be used end the training.
MOST_IN_A_ROW = {"shards": 10, "samples": 100}

logger = logging.getLogger(__name__)


class ShardDataset(IterableDataset):
    """Pairs of noisy and clean speech from shards, without an end.

    The shards are shuffled with (seed, epoch) and dealt out to the processes
    of a distributed run and to the workers of their loaders, over and over
    again. The samples of a shard are shuffled, too; noise is shuffled for each
    process and worker by itself. A worker holds one shard of speech and one of
    noise in memory.

    What cannot be read is skipped and named in the log, and counted.

    Arguments
    ---------
    shards : Mapping
        Those to train on: of ``pairs``, or of ``speech`` and ``noise``.
    load : PairLoader
        Crops pairs; a :class:`phasen_sb.data.mixing.MixLoader` mixes speech
        with noise, another one for each utterance.
    seed : int
        Of the training.
    epoch_counter : speechbrain.utils.epoch_loop.EpochCounter, optional
        Has the current epoch.
    """

    def __init__(
        self,
        shards: Mapping[str, Sequence[Shard]],
        load: PairLoader,
        seed: int = 0,
        epoch_counter=None,
    ):
        super().__init__()
        self.shards = shards.get("pairs") or shards["speech"]
        self.noises = shards.get("noise", ())
        self.load = load
        self.seed = seed
        self.epoch_counter = epoch_counter
        #: Of a worker's batch, and those of this epoch that a resumed training
        #: has had; set by the loader.
        self.batch_size, self.batches_before = 1, 0
        self.skipped = {
            name: multiprocessing.Value("l") for name in ("shards", "samples")
        }
        self._failures: Counter[str] = Counter()

    def __iter__(self) -> Iterator[dict]:
        find = load_webdataset().utils.pytorch_worker_info
        rank, ranks, worker, workers = find()
        # A loader takes batches from its workers in turns, from the first on:
        # of a resumed epoch, that is the one whose turn it was.
        worker = (worker + self.batches_before) % workers
        turns = (self.batches_before - worker + workers - 1) // workers
        epoch = getattr(self.epoch_counter, "current", 0)
        text = f"{self.seed} {epoch}"
        before = turns * self.batch_size
        speech = self._stream(
            self.shards, text, before, rank + ranks * worker, ranks * workers
        )
        noises: Iterator[Sample | None] = itertools.repeat(None)
        if self.noises:
            text = f"{text} {rank} {worker} noise"
            noises = self._stream(self.noises, text, before)
        for sample, noise in zip(speech, noises, strict=False):
            try:
                pair = self._make_pair(sample, noise)
            except (ValueError, sf.SoundFileError) as error:
                # It may be the fault of either.
                used = " mixed with ".join(
                    f"{one.id} of {one.url}" for one in (sample, noise) if one
                )
                reason = explain_decoding_error(error)
                self._skip("samples", f"{used}: {reason}")
                continue
            self._failures.clear()
            yield pair

    def _stream(
        self,
        shards: Sequence[Shard],
        text: str,
        before: int,
        first: int = 0,
        step: int = 1,
    ) -> Iterator[Sample]:
        """Reads every ``step``-th shard, without an end, from a sample on."""
        orders = (
            torch.randperm(
                len(shards), generator=seeded_generator(f"{text} {number}")
            ).tolist()
            for number in itertools.count()
        )
        order = itertools.chain.from_iterable(orders)
        for turn, index in enumerate(
            itertools.islice(order, first, None, step)
        ):
            shard = shards[index]
            if before >= shard.samples:  # without reading it
                before -= shard.samples
                continue
            try:
                samples = read_shard(shard)
            except BrokenShard as error:
                self._skip("shards", error)
                continue
            generator = seeded_generator(f"{text} {first} {turn}")
            mixed = torch.randperm(len(samples), generator=generator).tolist()
            for number in mixed[before:]:
                yield samples[number]
            before = 0

    def _make_pair(self, sample, noise):
        names = ["noisy", "clean"] if noise is None else ["clean"]
        signals = [self._open(sample, name) for name in names]
        lengths = {samples for _, samples in signals}
        if len(lengths) > 1:
            raise ValueError(f"noisy and clean have {lengths} samples")
        if noise is not None:
            self.load.noises = [self._open(noise, "noise")]
        seconds = lengths.pop() / self.load.sample_rate
        files = [file for file, _ in signals]
        noisy, clean = self.load(sample.id, seconds, *files)
        return {"id": sample.id, "noisy_sig": noisy, "clean_sig": clean}

    def _open(self, sample, name):
        """Returns a signal as a file, and its length (samples)."""
        content = sample.signals.get(name)
        if content is None:
            raise ValueError(f"it has no {name} signal")
        facts = sf.info(BytesIO(content))
        rate = self.load.sample_rate
        if (facts.samplerate, facts.channels) != (rate, 1) or not facts.frames:
            raise ValueError(
                f"{name} has {facts.frames} samples at {facts.samplerate} Hz "
                f"in {facts.channels} channels, but must be mono at {rate} Hz"
            )
        return BytesIO(content), facts.frames

    def _skip(self, what, problem):
        with self.skipped[what].get_lock():
            self.skipped[what].value += 1
        self._failures[what] += 1
        if self._failures[what] >= MOST_IN_A_ROW[what]:
            raise UserError(
                f"{self._failures[what]} {what} in a row cannot be used, the "
                f"last: {str(problem).rstrip('.')}; check that all are there."
            )
        logger.warning(f"Skipped: {problem}")


@register_checkpoint_hooks
class ShardLoader(LoopedLoader):
    """SpeechBrain's ``LoopedLoader``, of one epoch at a time.

    An epoch has as many batches as the samples of all shards make on all
    processes. Each begins with another order of the shards; a resumed one,
    where a checkpoint left it.

    Arguments
    ---------
    dataset : ShardDataset
        The samples.
    batch_size : int
        Of each process.
    **options
        Of the ``DataLoader``.

    Raises
    ------
    UserError
        If there are fewer shards than workers of all processes.
    """

    def __init__(self, dataset: ShardDataset, batch_size: int, **options):
        ranks = load_webdataset().utils.pytorch_worker_info()[1]
        workers = max(1, options.get("num_workers", 0))
        if len(dataset.shards) < ranks * workers:
            raise UserError(
                f"There are {len(dataset.shards)} shards to train on, but "
                f"{ranks} processes with {workers} workers each need "
                f"{ranks * workers}; pack shorter ones (phasen shard "
                "--shard-minutes), or give a smaller --num_workers."
            )
        dataset.batch_size = batch_size
        samples = sum(shard.samples for shard in dataset.shards)
        super().__init__(
            DataLoader(dataset, batch_size, **options),
            max(1, samples // (ranks * batch_size)),
        )

    def __iter__(self) -> "ShardLoader":
        if self.iterator is not None:  # not resumed
            self.step = 0
        self.loader.dataset.batches_before = self.step
        self.iterator = iter(self.loader)
        return self

    @mark_as_loader
    def load(self, path: str, end_of_epoch: bool = True) -> None:
        """Goes on within an epoch, or begins with the next one.

        An epoch that a limit of steps has cut short is over, too.
        """
        super().load(path, end_of_epoch)
        if end_of_epoch:
            self.step = 0

    def count_skipped(self) -> dict[str, int]:
        """Counts what this process could not read so far."""
        skipped = self.loader.dataset.skipped
        return {f"skipped_{name}": skipped[name].value for name in skipped}
