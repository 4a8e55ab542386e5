"""The Brain that trains, validates and tests an enhancer.

Authors
 * The phasen_sb authors 2026
"""

import logging
import math
import os

import speechbrain as sb
import torch
from speechbrain.dataio.dataset import FilteredSortedDynamicItemDataset

from phasen_sb import processes
from phasen_sb.averaging import WeightAverage
from phasen_sb.enhancer import clear_padding, count_samples, level
from phasen_sb.errors import UserError
from phasen_sb.features import count_frames
from phasen_sb.metrics.pool import MetricPool
from phasen_sb.metrics.report import MetricReport

logger = logging.getLogger(__name__)

#: Chooses the best checkpoint, on the validation voices.
SELECTION_METRIC = "pesq_wb"


class EnhancementBrain(sb.Brain):
    """Trains ``modules.enhancer`` on pairs of noisy and clean speech.

    Reads from ``hparams``: ``enhancer``, ``compute_stft``, ``compute_cost``,
    ``normalize``, ``augmentation``, ``metrics``, ``metric_jobs``, ``metric_timeout``,
    ``sample_rate``, ``lr_schedule``, ``phase_lr_scale``, ``average_decay``,
    ``epoch_counter``, ``train_logger``, ``output_folder``,
    ``use_tensorboard``.

    Beyond SpeechBrain's Brain: weights are averaged, and the average is what
    is validated and tested; batches with a loss or gradient that is not
    finite are skipped, leave no trace in running statistics, and stop the
    training when they persist; validation and test are shared among the
    processes of a distributed run; PESQ runs in a process pool beside the
    network.

    Example
    -------
    See ``recipes/train.py``.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.enhancer = self.modules.enhancer
        self.averaged = WeightAverage(self.enhancer, self.hparams.average_decay)
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("averaged", self.averaged)
        self.metric_pool = MetricPool(
            self.hparams.metrics,
            self.hparams.sample_rate,
            self.hparams.metric_jobs,
            self.hparams.metric_timeout,
        )
        self.tensorboard = None
        if self.hparams.use_tensorboard:
            self.tensorboard = _tensorboard(self.results_folder)
        self.noisy = {}
        self.report = None
        self.best = {}
        self.test_waves = {}
        self.train_stats = {}
        self.term_sums = {}
        self.batches_per_epoch = None
        self.batch_ids = []
        self.finite_loss = True
        self.skipped_steps = 0

    # ---------------------------------------------------------------- batches

    def compute_forward(self, batch, stage):
        """Enhances a batch; see :meth:`compute_objectives` for the keys."""
        lengths = batch.noisy_sig.lengths
        if bool((lengths == 1).all()):
            lengths = None
        batch = batch.to(self.device)
        noisy, clean = batch.noisy_sig.data, batch.clean_sig.data
        if lengths is not None:
            lengths = lengths.to(self.device)
        if stage == sb.Stage.TRAIN and self.hparams.augmentation is not None:
            epoch = self.hparams.epoch_counter.current
            noisy, clean = self.hparams.augmentation(
                noisy, clean, f"{self.hparams.seed} {epoch} {self.step}"
            )
            noisy = clear_padding(noisy, lengths)
        if self.hparams.normalize:
            # The loss compresses magnitudes and so depends on the level.
            gain = level(noisy, lengths)
        else:
            gain = torch.ones_like(noisy[:, :1])
        model = self.modules.enhancer
        if stage != sb.Stage.TRAIN:
            model = self.averaged.module
        wave, spectrogram = model(noisy / gain, lengths)
        return {
            "wave": wave,
            "spectrogram": spectrogram,
            "clean": clean / gain,
            "lengths": lengths,
            "gain": gain,
        }

    def compute_objectives(self, predictions, batch, stage):
        """Computes the loss and, beyond training, submits the metrics."""
        clean, lengths = predictions["clean"], predictions["lengths"]
        target = self.hparams.compute_stft(clean)
        frames = None
        if lengths is not None:
            counts = count_samples(lengths, clean.shape[1])
            frames = count_frames(self.hparams.compute_stft, counts)
            frames = frames / target.shape[1]
        loss, terms = self.hparams.compute_cost(
            predictions["spectrogram"], target, frames, return_terms=True
        )
        if stage == sb.Stage.TRAIN:
            self._add_terms(terms)
        else:
            self._submit(predictions, batch, stage)
        return loss

    def _add_terms(self, terms):
        for name, value in terms.items():
            self.term_sums[name] = self.term_sums.get(name, 0.0) + value

    def _submit(self, predictions, batch, stage):
        gain = predictions["gain"]
        waves = (predictions["wave"] * gain).float().cpu()
        clean = (predictions["clean"] * gain).float().cpu()
        for i, key in enumerate(batch.id):
            count = waves.shape[1]
            if predictions["lengths"] is not None:
                count = round(float(predictions["lengths"][i]) * count)
            self.metric_pool.submit(key, clean[i, :count], waves[i, :count])
            if stage == sb.Stage.TEST:
                self.test_waves[key] = waves[i, :count].numpy()

    # --------------------------------------------------------------- training

    def init_optimizers(self):
        """Gives the phase stream, whose steps swing most, its own rate."""
        if self.opt_class is None:
            return
        stream = getattr(self.enhancer.network, "phase_stream_parameters", None)
        phase = set(stream()) if stream is not None else set()
        groups = [
            {
                "params": [
                    p for p in self.enhancer.parameters() if p not in phase
                ],
                "lr_scale": 1.0,
            },
            {
                "params": [p for p in self.enhancer.parameters() if p in phase],
                "lr_scale": self.hparams.phase_lr_scale,
            },
        ]
        groups = [group for group in groups if group["params"]]
        schedule = self.hparams.lr_schedule
        if getattr(schedule, "total_steps", 0) is None:
            steps = math.ceil(
                self.batches_per_epoch / self.grad_accumulation_factor
            )
            schedule.total_steps = steps * self.hparams.epoch_counter.limit
        self.optimizer = self.opt_class(groups)
        self.optimizers_dict = {"opt_class": self.optimizer}
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("optimizer", self.optimizer)

    def fit_batch(self, batch):
        """Takes one step; a batch that is not finite leaves no trace."""
        # SpeechBrain drops an accumulation that the epoch's end cuts short; a
        # corpus with fewer batches than one accumulation would never train.
        should_step = (
            self.step % self.grad_accumulation_factor == 0
            or self.step == self.batches_per_epoch
        )
        buffers = list(self.enhancer.buffers())
        before = [buffer.clone() for buffer in buffers]
        with self.no_sync(not should_step):
            with self.training_ctx:
                outputs = self.compute_forward(batch, sb.Stage.TRAIN)
                loss = self.compute_objectives(outputs, batch, sb.Stage.TRAIN)
            # Also if it is not finite: under DDP all processes then see it in
            # their gradients and skip the step together.
            self.scaler.scale(loss / self.grad_accumulation_factor).backward()
        if not torch.isfinite(loss):
            self.finite_loss = False
            for buffer, saved in zip(buffers, before, strict=True):
                buffer.copy_(saved)
        self.batch_ids = batch.id
        if should_step:
            self.optimizers_step()
        return loss.detach().cpu()

    def optimizers_step(self):
        """Clips all gradients together and steps, if they are finite."""
        self.scaler.unscale_(self.optimizer)
        limit = self.max_grad_norm if self.max_grad_norm > 0 else math.inf
        parameters = [
            p for group in self.optimizer.param_groups for p in group["params"]
        ]
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        if torch.isfinite(norm):
            self.hparams.lr_schedule(self.optimizer)
            for group in self.optimizer.param_groups:
                group["lr"] *= group["lr_scale"]
            self.scaler.step(self.optimizer)
            self.optimizer_step += 1
            self.averaged.update_parameters(self.enhancer)
            self.nonfinite_count = 0
        elif self.finite_loss and self.scaler.is_enabled():
            logger.debug("fp16 overflow: the loss scale is lowered.")
        else:
            self._skip_step()
        self.finite_loss = True
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _skip_step(self):
        self.skipped_steps += 1
        self.nonfinite_count += 1
        ids = ", ".join(self.batch_ids)
        logger.warning(
            f"Step skipped: loss or gradient is not finite (batch: {ids})."
        )
        if self.nonfinite_count > self.nonfinite_patience:
            raise UserError(
                "Training stopped: loss or gradient was not finite in "
                f"{self.nonfinite_count} steps in a row, last with {ids}; "
                "check these files, lower lr or use --precision=fp32."
            )

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        # Gradients of an accumulation under way are in no checkpoint.
        if self.step % self.grad_accumulation_factor:
            return False
        return super()._should_save_intra_epoch_ckpt(
            last_ckpt_time, steps_since_ckpt
        )

    # ----------------------------------------------------------------- stages

    def make_dataloader(
        self, dataset, stage, ckpt_prefix="dataloader-", **loader_kwargs
    ):
        """Shares validation and test data among the processes, too."""
        if stage != sb.Stage.TRAIN:
            ids = dataset.data_ids[processes.shard()]
            dataset = FilteredSortedDynamicItemDataset(dataset, ids)
        loader = super().make_dataloader(
            dataset, stage, ckpt_prefix, **loader_kwargs
        )
        if stage == sb.Stage.TRAIN:
            self.batches_per_epoch = len(loader)
        return loader

    def on_stage_start(self, stage, epoch=None):
        """Starts the sums of a stage."""
        self.term_sums = {}
        if stage == sb.Stage.VALID:
            # Running statistics differ between processes: each normalises
            # its own batches.
            processes.broadcast(self.averaged.state_dict().values())

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Logs; after validation saves a checkpoint."""
        if stage == sb.Stage.TRAIN:
            steps = max(self.step, 1)
            self.train_stats = {"loss": stage_loss} | {
                name: float(value) / steps
                for name, value in self.term_sums.items()
            }
            self.train_stats["skipped_steps"] = self.skipped_steps
            return
        loss, report = processes.gather_report(
            stage_loss, self.metric_pool.collect()
        )
        self.report = report
        split = "valid" if stage == sb.Stage.VALID else "test"
        stats = {"loss": loss} | beside(report, self.noisy.get(split))
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
        score = report.mean().get(SELECTION_METRIC)
        if score is None or not math.isfinite(loss):
            # SpeechBrain ranks NaN first; nothing that failed may be best.
            score = -math.inf
        if self.checkpointer is not None:
            meta = {f"valid_{k}": v for k, v in report.mean().items()}
            self.checkpointer.save_and_keep_only(
                meta=meta | {SELECTION_METRIC: score, "epoch": epoch},
                max_keys=[SELECTION_METRIC],
            )

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
        super().on_evaluate_start(max_key, min_key)

    def score_noisy(self, split: str, dataset) -> MetricReport:
        """Scores the input as it is, the line every result stands beside.

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
            numbers = {
                split: {
                    name: value
                    for name, value in values.items()
                    if isinstance(value, (int, float))
                }
                for split, values in stats.items()
            }
            self.tensorboard.log_stats(meta, **numbers)

    @property
    def results_folder(self) -> str:
        """Where results go; a debug run does not touch the real ones."""
        folder = self.hparams.output_folder
        return os.path.join(folder, "debug") if self.debug else folder

    def close(self):
        """Ends the metric processes."""
        self.metric_pool.close()


def _tensorboard(folder):
    from speechbrain.utils.train_logger import TensorboardLogger

    try:
        return TensorboardLogger(os.path.join(folder, "tensorboard"))
    except ImportError as error:
        raise UserError(
            "use_tensorboard is on, but the package tensorboard is missing: "
            'pip install "phasen_sb[tensorboard]".'
        ) from error


def beside(report: MetricReport, noisy: MetricReport | None) -> dict:
    """Mean scores, each followed by the noisy input's.

    Example
    -------
    >>> ours = MetricReport(("stoi",), {"a": {"stoi": 0.9}})
    >>> beside(ours, MetricReport(("stoi",), {"a": {"stoi": 0.8}}))
    {'stoi': 0.9, 'noisy_stoi': 0.8}
    """
    stats = {}
    for name, value in report.mean().items():
        stats[name] = math.nan if value is None else value
        if noisy is not None and noisy.mean().get(name) is not None:
            stats[f"noisy_{name}"] = noisy.mean()[name]
    return stats
