"""Training for a given time, with its state written every minute."""

import dataclasses
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from speechbrain.utils.run_opts import RunOptions
from torch._functorch import config as autograd_config

from phasen_sb.augmentation import add_augmentation
from phasen_sb.configuration.recipe import Recipe
from phasen_sb.data.datasets import RandomDraw
from phasen_sb.data.device_batches import DeviceBatches, Noises
from phasen_sb.data.device_corpus import DeviceCorpus
from phasen_sb.errors import UserError
from phasen_sb.models.weights import load_initial_state
from phasen_sb.training.brain import EnhancementBrain
from phasen_sb.training.throughput import Variant
from phasen_sb.utils.files import write_atomically

logger = logging.getLogger(__name__)

LOG = "log.jsonl"
#: Steps before the number of all steps is estimated.
FEW = 10


@dataclasses.dataclass
class Counter:
    """Counts batches; random draws depend on it, as on an epoch elsewhere."""

    current: int = 0


class Batches:
    """Endless training batches from a corpus in the device's memory.

    Recordings are drawn with a probability that grows with their length.
    Speech that is shorter than a crop is joined with what follows it, so that
    nothing is padded: all batches have one shape, for which a compiler and
    CUDA's libraries prepare once.

    Arguments
    ---------
    recordings : mapping
        ``speech`` and ``noise``, lists of int16 tensors ``[samples]``.
    hparams : mapping
        Of a recipe: ``crop_seconds``, ``sample_rate``, ``snr_low``,
        ``snr_high``, ``seed``, ``augmentation``.
    device : torch.device
        Where they are to be.
    counter : Counter
        Counts the batches.
    """

    def __init__(
        self,
        recordings: Mapping[str, Sequence[torch.Tensor]],
        hparams: Mapping,
        device: torch.device | str,
        counter: Counter,
    ):
        crop = round(hparams["crop_seconds"] * hparams["sample_rate"])
        speech = join_short(recordings["speech"], crop)
        noise = recordings["noise"]
        self.corpus = DeviceCorpus.join([*speech, *noise], device)
        self.counter = counter
        self.draw = RandomDraw(hparams["seed"], counter)
        self.weights = torch.tensor([float(len(one)) for one in speech])
        batches = DeviceBatches(
            self.corpus,
            [str(number) for number in range(len(speech))],
            range(len(speech)),
            self.draw,
            noises=Noises(
                range(len(speech), len(speech) + len(noise)),
                hparams["snr_low"],
                hparams["snr_high"],
            ),
            crop=crop,
        )
        self.collate = add_augmentation(
            batches.collate, hparams["augmentation"], hparams["seed"], counter
        )

    def make(self, size: int):
        """Makes the next batch."""
        self.counter.current += 1
        chosen = torch.multinomial(
            self.weights, size, True, generator=self.draw("recordings")
        )
        return self.collate(chosen.tolist())


def join_short(
    recordings: Sequence[torch.Tensor], least: int
) -> list[torch.Tensor]:
    """Joins recordings with the next ones until they are long enough.

    Raises UserError if all of them together are shorter than ``least``.

    Example
    -------
    >>> join_short([torch.ones(2), torch.ones(1), torch.ones(1)], 2)
    [tensor([1., 1.]), tensor([1., 1.])]
    """
    joined: list[torch.Tensor] = []
    waiting: list[torch.Tensor] = []
    for recording in recordings:
        waiting.append(recording)
        if sum(map(len, waiting)) >= least:
            joined.append(torch.cat(waiting))
            waiting = []
    if waiting and not joined:
        raise UserError(
            f"All speech together is shorter than a crop, {least} samples; "
            "give a smaller crop_seconds or more speech."
        )
    if waiting:
        joined[-1] = torch.cat([joined[-1], *waiting])
    return joined


class TrainingBrain(EnhancementBrain):
    """Only trains: what scores validation and test need not be installed."""

    def make_metric_pool(self):
        """Makes none."""


def make_brain(
    recipe: Recipe,
    run_opts: RunOptions,
    variant: Variant,
    state: Mapping[str, torch.Tensor] | None = None,
) -> EnhancementBrain:
    """Builds a recipe's Brain that is ready for steps of a variant.

    ``state`` are weights to start from.
    """
    hparams = recipe.load()
    if state is not None:
        load_initial_state(
            hparams["enhancer"],
            state,
            "init_from",
            str(recipe.path),
            hparams.get("init_partly"),
        )
    options = {"precision": variant.precision}
    if variant.mode != "eager":
        options |= {"compile": True, "compile_mode": variant.mode}
        # By default it is compiled within the first backward pass, which waits
        # for a thread of its own on a GPU and cannot be stopped meanwhile.
        autograd_config.force_non_lazy_backward_lowering = True
    brain = TrainingBrain(
        hparams["modules"],
        hparams["opt_class"],
        hparams,
        dataclasses.replace(
            run_opts,
            **options,
            overridden_args=run_opts.overridden_args | set(options),
        ),
    )
    if getattr(brain.hparams.lr_schedule, "total_steps", 0) is None:
        brain.hparams.lr_schedule.total_steps = 10**9  # until it is estimated
    brain.on_fit_start()
    brain.modules.train()
    return brain


def restart(
    brain: EnhancementBrain, initial: Mapping[str, torch.Tensor]
) -> None:
    """Makes a Brain forget the steps that it made.

    ``initial`` is the state of its enhancer before them.
    """
    brain.enhancer.load_state_dict(initial)
    brain.averaged.module.load_state_dict(initial)
    brain.averaged.n_averaged.zero_()
    brain.optimizer.state.clear()
    brain.optimizer.zero_grad()
    brain.hparams.lr_schedule.steps = 0
    brain.read_steps()
    brain.take_terms()
    brain.step = brain.optimizer_step = 0
    brain.skipped_steps = brain.skipped_in_a_row = 0
    brain.avg_train_loss = 0.0


class TimedTraining:
    """Trains a Brain until a moment, and writes log and weights meanwhile.

    Arguments
    ---------
    brain : EnhancementBrain
        Of :func:`make_brain`.
    batches : Batches
        What it is trained on.
    variant : Variant
        How.
    write_weights : callable
        Writes the enhancer's state, a mapping of tensors on the CPU. It is
        called in a thread, while the training goes on.
    folder : pathlib.Path
        Where ``log.jsonl`` is written.
    interval : float
        Seconds between two writings.
    log : list of dict
        Lines of earlier runs, which this one continues.
    """

    def __init__(
        self,
        brain: EnhancementBrain,
        batches: Batches,
        variant: Variant,
        write_weights: Callable[[dict], object],
        folder: Path,
        interval: float = 60.0,
        log: Sequence[Mapping] = (),
    ):
        self.brain = brain
        self.batches = batches
        self.variant = variant
        self.write_weights = write_weights
        self.folder = folder
        self.interval = interval
        self.log = list(log)
        self.heard = self.log[-1]["audio_seconds"] if self.log else 0.0
        self.steps = 0
        self.writer: threading.Thread | None = None

    def train(self, until: float) -> None:
        """Trains until a time of :func:`time.monotonic`.

        The schedule of the learning rate ends there: the number of steps is
        estimated from those that were made.
        """
        brain, began = self.brain, time.monotonic()
        schedule = brain.hparams.lr_schedule
        seconds = brain.hparams.crop_seconds * self.variant.batch
        self.reported, last = began, self.heard
        while (now := time.monotonic()) < until:
            if self.steps >= FEW and hasattr(schedule, "total_steps"):
                left = (until - now) * self.steps / (now - began)
                schedule.total_steps = schedule.steps + max(1, round(left))
            batch = self.batches.make(self.variant.batch)
            brain.step += 1
            loss = brain.fit_batch(batch)
            brain.avg_train_loss = brain.update_average(
                loss, brain.avg_train_loss
            )
            self.steps += brain.step % brain.grad_accumulation_factor == 0
            self.heard += seconds
            if now >= self.reported + self.interval:
                self.report(now, self.heard - last)
                last = self.heard
        brain.read_steps()
        if self.heard > last:
            self.report(time.monotonic(), self.heard - last)
        if self.writer is not None:
            self.writer.join()

    def report(self, now: float, heard: float) -> None:
        """Writes a line of the log, and starts to write the weights."""
        brain = self.brain
        brain.read_steps()
        on_gpu = torch.cuda.is_available()
        line = {
            "steps": self.steps,
            "skipped_steps": brain.skipped_steps,
            "batches": self.batches.counter.current,
            "audio_seconds": round(self.heard, 1),
            "speed": round(heard / (now - self.reported), 1),
            "lr": brain.optimizer.param_groups[0]["lr"],
            "loss": brain.avg_train_loss,
            **brain.take_terms(),
            **self.variant._asdict(),
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        }
        if on_gpu:
            line["memory_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
        self.log.append(line)
        write_atomically(
            self.folder / LOG, "".join(json.dumps(x) + "\n" for x in self.log)
        )
        logger.info(json.dumps(line))
        brain.avg_train_loss, brain.step = 0.0, 0
        self.reported = now
        if self.writer is not None:
            self.writer.join()
        state = brain.averaged.module.state_dict()
        state = {key: x.to("cpu", copy=True) for key, x in state.items()}
        self.writer = threading.Thread(target=self._write, args=[state])
        self.writer.start()

    def _write(self, state):
        try:
            self.write_weights(state)
        except (UserError, OSError) as error:  # the training goes on
            logger.warning(f"The weights were not written: {error}")


def read_log(folder: Path) -> list[dict]:
    """Reads the log that an earlier training wrote into a folder, if any."""
    log = folder / LOG
    if not log.is_file():
        return []
    return [json.loads(line) for line in log.read_text().splitlines()]
