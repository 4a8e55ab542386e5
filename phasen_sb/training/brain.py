"""The Brain that trains, validates and tests an enhancer."""

import copy
import logging
import math

import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import LoopedLoader
from speechbrain.dataio.dataset import FilteredSortedDynamicItemDataset
from torch.utils.data import DataLoader

from phasen_sb.augmentation import add_augmentation
from phasen_sb.data.corpus_placement import place_corpus
from phasen_sb.data.length_batches import length_batches
from phasen_sb.errors import UserError
from phasen_sb.losses.objective import Objective
from phasen_sb.metrics.checkpoint_selection import (
    SELECTION_METRIC,
    selection_score,
)
from phasen_sb.metrics.metric_report import MetricReport
from phasen_sb.metrics.pool import MetricPool
from phasen_sb.signals.level import SILENCE_RMS, measure_level
from phasen_sb.signals.windows import move_windows
from phasen_sb.training import processes
from phasen_sb.training.averaging import WeightAverage
from phasen_sb.training.compilation import compile_network, compile_objective
from phasen_sb.training.optimizers import make_optimizer
from phasen_sb.training.steps import SafeStepsBrain
from phasen_sb.training.summaries import join_means, summarise
from phasen_sb.training.tensorboard import log_numbers, open_tensorboard

logger = logging.getLogger(__name__)


class EnhancementBrain(SafeStepsBrain):
    """Trains ``modules.enhancer`` on pairs of noisy and clean speech.

    Reads from ``hparams``: ``enhancer``, ``compute_stft``, ``compute_cost``,
    ``normalize``, ``augmentation``, ``metrics``, ``metric_jobs``,
    ``metric_timeout``, ``sample_rate``, ``lr_schedule``, ``average_decay``,
    ``activation_memory_budget``, ``epoch_counter``, ``validate_every``,
    ``valid_batch_seconds``, ``train_logger``, ``output_folder``,
    ``use_tensorboard``, ``seed``.

    Beyond SpeechBrain's Brain: weights are averaged, and the average is what
    is validated and tested; batches with a loss or gradient that is not
    finite are skipped, do not change running statistics, and stop the
    training when they persist; validation and test are shared among the
    processes of a distributed run; PESQ runs in a process pool beside the
    network.

    Example
    -------
    See ``recipes/train.py``.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if SELECTION_METRIC not in self.hparams.metrics:
            raise UserError(
                f"metrics lacks {SELECTION_METRIC}, which chooses the best "
                "checkpoint; add it."
            )
        if self.hparams.sample_rate != 16000:
            raise UserError(
                f"sample_rate is {self.hparams.sample_rate}; it must be 16000,"
                f" the only rate of {SELECTION_METRIC}, which chooses the best "
                "checkpoint."
            )
        self.enhancer = self.modules.enhancer
        move_windows(self.modules, self.device)
        move_windows(self.hparams.compute_stft, self.device)
        self.averaged = WeightAverage(self.enhancer, self.hparams.average_decay)
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("averaged", self.averaged)
        self.objective = Objective.wrap(self.hparams.compute_cost)
        self.compute_loss = self.objective
        self.loss_stft = self.hparams.compute_stft
        if any(p.requires_grad for p in self.loss_stft.parameters()):
            # Trainable kernels would learn to make the loss's spectrograms
            # small; a fixed copy analyses the enhanced waveform instead.
            self.loss_stft = copy.deepcopy(self.loss_stft)
            self.loss_stft.requires_grad_(False).to(self.device)
        self.metric_pool = self.make_metric_pool()
        self.tensorboard = None
        if self.hparams.use_tensorboard:
            self.tensorboard = open_tensorboard(self.hparams.output_folder)
        self.noisy = {}
        self.report = None
        self.best = {}
        self.test_waves = {}
        self.evaluated_loss, self.evaluated = 0.0, 0
        self.train_stats = {}

    def make_metric_pool(self) -> MetricPool:
        """Makes the processes that score validation and test."""
        given = self.hparams
        limits = given.metric_jobs, given.metric_timeout
        return MetricPool(given.metrics, given.sample_rate, *limits)

    # ---------------------------------------------------------------- batches

    def compute_forward(self, batch, stage):
        """Enhances a batch; see :meth:`compute_objectives` for the keys."""
        lengths = batch.noisy_sig.lengths
        if bool((lengths == 1).all()):
            lengths = None
        # On other devices such a copy may read memory that has been freed.
        batch = batch.to(self.device, non_blocking=self._on_cuda())
        noisy, clean = batch.noisy_sig.data, batch.clean_sig.data
        if lengths is not None:
            lengths = batch.noisy_sig.lengths
        if self.hparams.normalize:
            # The loss compresses magnitudes and so depends on the level.
            gain = measure_level(noisy, lengths)
            # Speech whose noisy version is silent must not be amplified.
            gain = torch.where(gain > SILENCE_RMS, gain, 1.0)
        else:
            gain = torch.ones_like(noisy[:, :1])
        model = self.modules.enhancer
        if stage != sb.Stage.TRAIN:
            model = self.averaged.module
        wave, spectrogram = model(noisy / gain, lengths)
        if self.loss_stft is not self.hparams.compute_stft:
            spectrogram = None  # of the trainable kernels; not compared
        return {
            "wave": wave,
            "spectrogram": spectrogram,
            "clean": clean / gain,
            "lengths": lengths,
            "gain": gain,
        }

    def compute_objectives(self, predictions, batch, stage):
        """Computes the loss; outside training also submits the metrics."""
        loss, terms = self.compute_loss(
            predictions["wave"],
            predictions["spectrogram"],
            predictions["clean"],
            predictions["lengths"],
            self.loss_stft,
        )
        if stage == sb.Stage.TRAIN:
            self.add_terms(terms)
        else:
            self._submit(predictions, batch, stage)
        return loss

    def evaluate_batch(self, batch, stage):
        """Sums losses weighted by utterances: batches differ in size.

        SpeechBrain's own mean would leave out those that are not finite.
        """
        loss = super().evaluate_batch(batch, stage)
        self.evaluated_loss += float(loss) * len(batch.id)
        self.evaluated += len(batch.id)
        return loss

    def _submit(self, predictions, batch, stage):
        waves = (predictions["wave"] * predictions["gain"]).float().cpu()
        clean = batch.clean_sig.data.cpu()
        for i, key in enumerate(batch.id):
            count = waves.shape[1]
            if predictions["lengths"] is not None:
                count = round(float(predictions["lengths"][i]) * count)
            self.metric_pool.submit(key, clean[i, :count], waves[i, :count])
            if stage == sb.Stage.TEST:
                self.test_waves[key] = waves[i, :count].numpy()

    # --------------------------------------------------------------- training

    def fit(self, epoch_counter, train_set, *args, **kwargs):
        """Trains on a dataset, or on a DataLoader, which then augments."""
        loader = train_set
        if isinstance(train_set, LoopedLoader):
            loader = train_set.loader
        if isinstance(loader, DataLoader):
            loader.collate_fn = self._augmented(
                loader.collate_fn, loader.persistent_workers
            )
        super().fit(epoch_counter, train_set, *args, **kwargs)

    def init_optimizers(self):
        """Makes the optimizer; tells the schedule the number of steps."""
        if self.opt_class is None:
            return
        # The phase stream comes last, as in earlier versions: the states of
        # their optimizers are numbered in this order, and it decides how the
        # norm of the gradients is rounded.
        stream = getattr(self.enhancer.network, "phase_stream_parameters", None)
        phase = set(stream()) if stream is not None else set()
        parameters = sorted(self.enhancer.parameters(), key=phase.__contains__)
        schedule = self.hparams.lr_schedule
        if getattr(schedule, "total_steps", 0) is None:
            schedule.total_steps = self.count_steps()
        self.optimizer = make_optimizer(self.opt_class, parameters, self.device)
        self.optimizers_dict = {"opt_class": self.optimizer}
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("optimizer", self.optimizer)

    def on_step(self, taken=None):
        """Updates the running average of the weights."""
        self.averaged.update_parameters(self.enhancer, taken)

    def _compile(self):
        # Between network and objective the code depends on the lengths.
        if not self.compile:
            return
        options = {
            "mode": self.compile_mode,
            "fullgraph": self.compile_using_fullgraph,
            "dynamic": self.compile_using_dynamic_shape_tracing,
        }
        budget = self.hparams.activation_memory_budget
        compile_network(self.enhancer.network, budget, **options)
        if self._on_cuda():
            self.compute_loss = compile_objective(self.objective, **options)

    # ----------------------------------------------------------------- stages

    def make_dataloader(
        self, dataset, stage, ckpt_prefix="dataloader-", **loader_kwargs
    ):
        """Makes a loader of training, validation or test batches.

        The workers augment training batches, or this process does, on its
        device, where :func:`phasen_sb.data.corpus_placement.place_corpus` puts
        the corpus. Validation and test data are shared among the processes of
        a distributed run, in batches of similar length unless the arguments
        define the batches.
        """
        if stage == sb.Stage.TRAIN:
            dataset, loader_kwargs = place_corpus(
                dataset, self.device, loader_kwargs
            )
        loader_kwargs.setdefault("pin_memory", self._on_cuda())
        if stage == sb.Stage.TRAIN:
            loader_kwargs["collate_fn"] = self._augmented(
                loader_kwargs.get("collate_fn", PaddedBatch),
                loader_kwargs.get("persistent_workers", False),
            )
        else:
            ids = dataset.data_ids[processes.shard()]
            if self.debug:  # the same as in score_noisy
                ids = ids[: self.debug_batches]
            dataset = FilteredSortedDynamicItemDataset(dataset, ids)
            if not loader_kwargs.keys() & {"batch_size", "batch_sampler"}:
                # A file of unknown length gets a batch of its own.
                lengths = [dataset.data[k].get("length", math.inf) for k in ids]
                loader_kwargs["batch_sampler"] = length_batches(
                    lengths, self._valid_batch_seconds()
                )
        return super().make_dataloader(
            dataset, stage, ckpt_prefix, **loader_kwargs
        )

    def _augmented(self, collate, persistent_workers):
        if persistent_workers:
            raise UserError(
                "persistent_workers is on, with which every epoch would repeat "
                "the crops and mixtures of the first; leave it out."
            )
        hparams = self.hparams
        return add_augmentation(
            collate, hparams.augmentation, hparams.seed, hparams.epoch_counter
        )

    def _on_cuda(self):
        return torch.device(self.device).type == "cuda"

    def _valid_batch_seconds(self):
        given = self.hparams.valid_batch_seconds
        if given is not None:
            return given
        # On a CPU single files use the cache better: 1.7 times faster.
        return 0 if torch.device(self.device).type == "cpu" else 40

    def on_stage_start(self, stage, epoch=None):
        """Makes all processes evaluate the same weights."""
        self.evaluated_loss, self.evaluated = 0.0, 0
        if stage == sb.Stage.VALID:
            # Running statistics differ between processes, each of which sees
            # its own batches.
            processes.broadcast(self.averaged.module.buffers())

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Logs; after validation saves a checkpoint."""
        if stage == sb.Stage.TRAIN:
            self.read_steps()
            self.train_stats = (
                {"loss": self.avg_train_loss}
                | self.take_terms()
                | self.count_skipped()
            )
            return
        loss, report = processes.gather_report(
            self.evaluated_loss / max(self.evaluated, 1),
            self.metric_pool.collect(),
        )
        self.report = report
        split = "valid" if stage == sb.Stage.VALID else "test"
        stats = {"loss": loss} | join_means(report, self.noisy.get(split))
        if report.failures:
            stats["failures"] = report.failure_counts()
        if stage == sb.Stage.TEST:
            self._log(
                {"epoch loaded": self.hparams.epoch_counter.current},
                test_stats=stats,
            )
            self.test_waves = processes.gather_mapping(self.test_waves)
            return
        self._log(
            {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]},
            train_stats=self.train_stats,
            valid_stats=stats,
        )
        score = selection_score(report, loss)
        if self.checkpointer is not None:
            meta = {f"valid_{k}": v for k, v in summarise(report).items()}
            self.checkpointer.save_and_keep_only(
                meta=meta | {SELECTION_METRIC: score, "epoch": epoch},
                max_keys=[SELECTION_METRIC],
            )

    def _fit_valid(self, valid_set, epoch, enable):
        due = (
            epoch % self.hparams.validate_every == 0
            or epoch >= self.hparams.epoch_counter.limit
            or self.debug
            or self._optimizer_step_limit_exceeded
        )
        if due:
            super()._fit_valid(valid_set, epoch, enable)
        else:
            self._log({"epoch": epoch}, train_stats=self.train_stats)

    def on_evaluate_start(self, max_key=None, min_key=None):
        """Loads the best checkpoint; there must be one."""
        if self.checkpointer is not None:
            found = self.checkpointer.find_checkpoint(
                max_key=max_key, min_key=min_key
            )
            if found is None:
                raise UserError(
                    f"{self.checkpointer.checkpoints_dir} holds no "
                    "checkpoint to test; train first."
                )
            self.best = dict(found.meta)
            if found.meta[max_key] == -math.inf:
                logger.warning(
                    f"No validation had a valid {max_key}: the tested "
                    "checkpoint need not be the best."
                )
        trained = self.optimizer_step, self.skipped_steps
        super().on_evaluate_start(max_key, min_key)
        # Counts of the whole run, not up to the best checkpoint.
        self.optimizer_step = max(self.optimizer_step, trained[0])
        self.skipped_steps = max(self.skipped_steps, trained[1])

    def score_noisy(self, split: str, dataset) -> MetricReport:
        """Scores the noisy input, with which all results are compared.

        Arguments
        ---------
        split : str
            ``valid`` or ``test``.
        dataset : speechbrain DynamicItemDataset
            With the items ``id``, ``noisy_sig`` and ``clean_sig``.

        Returns
        -------
        MetricReport
            On all processes.
        """
        indices = range(len(dataset))[processes.shard()]
        for index in indices[: self.debug_batches if self.debug else None]:
            item = dataset[index]
            self.metric_pool.submit(
                item["id"], item["clean_sig"], item["noisy_sig"]
            )
        _, report = processes.gather_report(0.0, self.metric_pool.collect())
        self.noisy[split] = report
        self.hparams.train_logger.log_stats(
            {"noisy input": split}, **{f"{split}_stats": report.mean()}
        )
        return report

    def _log(self, meta, **stats):
        self.hparams.train_logger.log_stats(meta, **stats)
        if self.tensorboard is not None:
            log_numbers(self.tensorboard, meta, stats)

    def close(self):
        """Ends the metric processes."""
        self.metric_pool.close()
