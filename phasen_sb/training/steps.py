"""Training steps that survive NaN, overflow and being killed."""

import logging
import math
from dataclasses import dataclass

import speechbrain as sb
import torch
import yaml
from speechbrain.dataio.dataloader import LoopedLoader
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import ddp_broadcast
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from phasen_sb.data.shard_stream import ShardDataset, ShardLoader
from phasen_sb.errors import UserError
from phasen_sb.training import processes
from phasen_sb.training.buffers import copy_buffers, restore_buffers
from phasen_sb.training.optimizers import can_skip, step_if

logger = logging.getLogger(__name__)

#: Steps on a GPU whose losses are read at once: reading waits for the GPU.
READ_EVERY = 16


@dataclass
class Step:
    """What is read of a step, later than it was made if that is on a GPU."""

    ids: list[str]  #: of the batch
    loss: torch.Tensor  #: a scalar on the device
    #: Norm of the gradients before clipping; None while they accumulate.
    norm: torch.Tensor | None
    number: int = 0  #: within the epoch; 0 until it is known


@register_checkpoint_hooks
class SafeStepsBrain(sb.Brain):
    """A SpeechBrain ``Brain`` with one optimizer and safer steps.

    A step whose loss or gradient is not finite is skipped and counted, and
    changes neither weights nor running statistics; the training stops when
    more than ``--nonfinite_patience`` steps in a row are skipped, whatever
    the length of an epoch. Gradients that are accumulated when an epoch ends
    still make a step. A training that is resumed, at the end of an epoch or
    within it, goes on as if it had never stopped.

    On a CUDA GPU the GPU itself decides whether a step is skipped, and the
    program, which must not wait for it, learns of that once in several steps:
    counts, warnings and the mean loss come so much later, and skipped steps
    count for the schedule of the learning rate. That takes an optimizer with a
    fused implementation; with any other, or with fp16, each step is read.

    Takes the arguments of ``speechbrain.Brain``; a subclass may define
    ``on_step`` to act after each step.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.checkpointer is not None:
            # With --debug, SpeechBrain gives each process its own folder.
            self.checkpointer.checkpoints_dir = ddp_broadcast(
                self.checkpointer.checkpoints_dir
            )
        self.batches_per_epoch = None
        self.gradient_norm = None
        self.unread = []
        self.batch_ids = []
        self.skipped_steps = 0
        self.skipped_in_a_row = 0
        self.term_sums = {}
        self.term_batches = 0
        self.shard_loader = None

    def on_step(self, taken: torch.Tensor | None = None):
        """Gets called after each step.

        After those that were not skipped; or, on a GPU, after all of them with
        whether it was not, a scalar on the device.
        """

    def fit(self, epoch_counter, train_set, *args, **kwargs):
        """Trains on a dataset, or on a DataLoader as it is."""
        if isinstance(train_set, (DataLoader, LoopedLoader)):
            self._count_batches(train_set)
        super().fit(epoch_counter, train_set, *args, **kwargs)

    def make_dataloader(
        self, dataset, stage, ckpt_prefix="dataloader-", **loader_kwargs
    ):
        """Makes a loader; counts its batches if it is for training."""
        if isinstance(dataset, ShardDataset):
            loader_kwargs.pop("shuffle", None)  # it always is
            loader = self.shard_loader = ShardLoader(dataset, **loader_kwargs)
            if self.checkpointer is not None and ckpt_prefix is not None:
                self.checkpointer.add_recoverable(
                    ckpt_prefix + stage.name, loader
                )
        else:
            loader = super().make_dataloader(
                dataset, stage, ckpt_prefix, **loader_kwargs
            )
        if stage == sb.Stage.TRAIN:
            self._count_batches(loader)
        return loader

    def _count_batches(self, loader):
        try:
            self.batches_per_epoch = len(loader)
        except TypeError:  # of an iterable dataset
            return
        if self.debug:
            self.batches_per_epoch = min(len(loader), self.debug_batches)

    def _wrap_distributed(self):
        if torch.device(self.device).type != "cpu":
            super()._wrap_distributed()
        elif self.distributed_launch:
            # SpeechBrain would also turn PyTorch's batch norms into
            # SyncBatchNorm, which refuses CPU tensors.
            for name, module in self.modules.items():
                if any(p.requires_grad for p in module.parameters()):
                    self.modules[name] = DistributedDataParallel(
                        module,
                        find_unused_parameters=self.find_unused_parameters,
                    )

    def count_steps(self) -> int:
        """Counts the steps of the whole training, up to its limit."""
        if self.batches_per_epoch is None:
            raise UserError(
                "The training data does not tell how many batches it has; "
                "set total_steps of lr_schedule."
            )
        steps = math.ceil(
            self.batches_per_epoch / self.grad_accumulation_factor
        )
        steps *= self.hparams.epoch_counter.limit
        return min(steps, self.optimizer_step_limit or steps)

    def fit_batch(self, batch):
        """Takes one step, in which only a finite batch changes anything.

        The batch needs the item ``id``. Returns the loss, a scalar, which may
        not be finite; it is on the CPU unless steps are read later. Raises
        UserError if too many steps in a row were not finite.
        """
        # SpeechBrain drops gradients that are accumulated when an epoch ends;
        # a corpus of fewer batches than one accumulation would never train.
        should_step = (
            self.step % self.grad_accumulation_factor == 0
            or self.step == self.batches_per_epoch
        )
        self.on_fit_batch_start(batch, should_step)
        if len(self.unread) >= READ_EVERY:
            self.read_steps()
        if self.compile:
            torch.compiler.cudagraph_mark_step_begin()
        copies = copy_buffers(self.modules)
        with self.no_sync(not should_step):
            with self.training_ctx:
                outputs = self.compute_forward(batch, sb.Stage.TRAIN)
                loss = self.compute_objectives(outputs, batch, sb.Stage.TRAIN)
            # Even if it is not finite: under DDP all processes then see that
            # in their gradients and skip the step together.
            self.scaler.scale(loss / self.grad_accumulation_factor).backward()
        # A copy: a CUDA graph overwrites its results when it runs again.
        loss = loss.detach().clone().reshape(())
        norm = self._clip_gradients() if should_step else None
        if self.is_read_later():
            restore_buffers(copies, loss.isfinite())
            self.unread.append(Step(batch.id, loss, norm))
        else:
            loss, *rest = self.read(loss, *([norm] if should_step else []))
            if not loss.isfinite():
                restore_buffers(copies)
            norm = rest[0] if should_step else None
        self.batch_ids = batch.id
        if should_step:
            self.gradient_norm = norm
            self.optimizers_step()
        self.on_fit_batch_end(batch, outputs, loss, should_step)
        return loss

    def is_read_later(self) -> bool:
        """Whether the device skips steps, of which the program learns later."""
        return (
            torch.device(self.device).type == "cuda"
            and not self.scaler.is_enabled()
            and can_skip(self.optimizer)
        )

    @staticmethod
    def read(*scalars: torch.Tensor) -> torch.Tensor:
        """Reads scalars at once, as each reading synchronises with the GPU."""
        return torch.stack([scalar.float() for scalar in scalars]).cpu()

    def read_steps(self) -> None:
        """Reads and counts the steps that have not been read.

        Raises UserError if too many in a row were not finite.
        """
        steps, self.unread = self.unread, []
        if not steps:
            return
        scalars = [
            scalar
            for step in steps
            for scalar in (step.loss, step.norm)
            if scalar is not None
        ]
        values = iter(self.read(*scalars))
        for step in steps:
            loss = next(values)
            if step.number and loss.isfinite():  # as SpeechBrain averages
                self.avg_train_loss -= self.avg_train_loss / step.number
                self.avg_train_loss += float(loss) / step.number
            if step.norm is None:
                continue
            if next(values).isfinite():
                self.skipped_in_a_row = 0
            else:
                self.optimizer_step -= 1
                self._skip_step(step.ids)

    def update_average(self, loss, avg_loss):
        """Averages losses as SpeechBrain does, once they are read."""
        if self.unread and loss is self.unread[-1].loss:
            self.unread[-1].number = self.step
            return avg_loss
        return super().update_average(loss, avg_loss)

    @property
    def _optimizer_step_limit_exceeded(self):
        if super()._optimizer_step_limit_exceeded:
            self.read_steps()  # some may have been skipped
        return super()._optimizer_step_limit_exceeded

    def optimizers_step(self):
        """Steps if the gradients, which are clipped already, are finite."""
        if self.is_read_later():
            taken = self.gradient_norm.isfinite()
            self.hparams.lr_schedule(self.optimizer)
            step_if(taken, self.optimizer)
            self.optimizer_step += 1
            self.on_step(taken)
        elif torch.isfinite(self.gradient_norm):
            self.hparams.lr_schedule(self.optimizer)
            self.scaler.step(self.optimizer)
            self.optimizer_step += 1
            self.skipped_in_a_row = 0
            self.on_step()
        else:
            self._skip_step(self.batch_ids)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _clip_gradients(self):
        """Clips all gradients; returns their norm before, on the device."""
        self.scaler.unscale_(self.optimizer)
        limit = self.max_grad_norm if self.max_grad_norm > 0 else math.inf
        parameters = [
            p for group in self.optimizer.param_groups for p in group["params"]
        ]
        return torch.nn.utils.clip_grad_norm_(parameters, limit)

    def _skip_step(self, batch_ids):
        self.skipped_steps += 1
        self.skipped_in_a_row += 1
        ids = ", ".join(batch_ids)
        logger.warning(
            f"Step skipped: loss or gradient is not finite (batch: {ids})."
        )
        # fp16 overflows until the scaler has halved its scale often enough.
        halvings = 24 if self.scaler.is_enabled() else 0
        if self.skipped_in_a_row > self.nonfinite_patience + halvings:
            raise UserError(
                "Training stopped: loss or gradient was not finite in "
                f"{self.skipped_in_a_row} steps in a row, last with {ids}; "
                "check these files, lower lr or use --precision=fp32."
            )

    def add_terms(self, terms: dict[str, torch.Tensor]) -> None:
        """Adds up the terms of a training batch's loss, for the log."""
        if not terms:
            return
        # On the device: reading a value would synchronise with it.
        terms = {k: value.to(self.device) for k, value in terms.items()}
        finite = torch.stack(list(terms.values())).isfinite().all()
        self.term_batches = self.term_batches + finite.float()
        for name, value in terms.items():
            counted = torch.where(finite, value, 0.0)
            self.term_sums[name] = self.term_sums.get(name, 0.0) + counted

    def take_terms(self) -> dict[str, float]:
        """Returns the means since the last call."""
        batches = float(self.term_batches)
        means = {
            name: float(value) / batches
            for name, value in self.term_sums.items()
            if batches
        }
        self.term_sums, self.term_batches = {}, 0
        return means

    def count_skipped(self) -> dict[str, int]:
        """Counts skipped steps, and shards and samples of all processes."""
        counts = {"skipped_steps": self.skipped_steps}
        if self.shard_loader is not None:
            counts |= processes.add_up(self.shard_loader.count_skipped())
        return counts

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        # Checkpoints do not hold gradients that are being accumulated.
        if self.step % self.grad_accumulation_factor:
            return False
        due = super()._should_save_intra_epoch_ckpt(
            last_ckpt_time, steps_since_ckpt
        )
        if due:  # the checkpoint holds what is known of them
            self.read_steps()
        return due

    @mark_as_saver
    def _save(self, path):
        super()._save(path)
        more = {
            "skipped_steps": self.skipped_steps,
            "skipped_in_a_row": self.skipped_in_a_row,
            "term_sums": {k: float(v) for k, v in self.term_sums.items()},
            "term_batches": float(self.term_batches),
        }
        with open(path, "a", encoding="utf-8") as file:
            yaml.safe_dump(more, file)

    @mark_as_loader
    def _recover(self, path, end_of_epoch):
        super()._recover(path, end_of_epoch)
        with open(path, encoding="utf-8") as file:
            saved = yaml.safe_load(file)
        self.skipped_steps = saved["skipped_steps"]
        self.skipped_in_a_row = saved["skipped_in_a_row"]
        self.term_sums = saved["term_sums"]
        self.term_batches = saved["term_batches"]
