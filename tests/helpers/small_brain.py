"""Brains with a tiny network, for tests that need no command line."""

import json

import speechbrain as sb
import torch
from helpers.recipe_process import TINY
from speechbrain.utils.run_opts import RunOptions

from phasen_sb.configuration.recipe import Recipe
from phasen_sb.training.brain import EnhancementBrain


class SpoiltLoss:
    """The loss, multiplied by one factor of a list for each batch."""

    def __init__(self, loss, factors):
        self.loss = loss
        self.factors = iter(factors)

    def __call__(self, predictions, targets, length=None, return_terms=True):
        loss, terms = self.loss(
            predictions, targets, length, return_terms=return_terms
        )
        return loss * next(self.factors, 1.0), terms


class Stream(torch.utils.data.IterableDataset):
    """A dataset of unknown length."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


def build_brain(folder, data, run_opts=None, factors=(), **overrides):
    """A Brain on ``data``, with ``.datasets``; to be closed."""
    settings = {
        "output_folder": str(folder),
        "data_folder": str(data),
        "batch_size": 2,
        "num_workers": 0,
        "number_of_epochs": 1,
        "crop_seconds": 0.2,
        "metrics": ["pesq_wb"],
        "metric_jobs": 1,
        "data_jobs": 1,
        "precision": "fp32",
        "pictured_utterances": 0,
        "average_decay": 0.9,
    } | overrides
    objects = [  # with YAML tags, which JSON cannot write
        (key, settings.pop(key))
        for key, value in overrides.items()
        if str(value).startswith("!")
    ]
    text = f"{json.dumps(settings)[:-1]}, network: {TINY}"
    text += "".join(f", {key}: {value} " for key, value in objects) + "}"
    hparams = Recipe.read("hparams/phasen.yaml", text).load()
    hparams["prepare_data"]()
    if factors:
        loss = SpoiltLoss(hparams["compute_cost"], factors)
        hparams["compute_cost"] = loss
    options = {"device": "cpu", "noprogressbar": True} | (run_opts or {})
    brain = EnhancementBrain(
        hparams["modules"],
        hparams["opt_class"],
        hparams,
        RunOptions.from_dictionary(options),
        hparams["checkpointer"],
    )
    brain.datasets = hparams["make_datasets"]()
    return brain


def fit(brain, valid=None):
    """Trains on batches of two."""
    brain.fit(
        brain.hparams.epoch_counter,
        brain.datasets["train"],
        valid,
        train_loader_kwargs={"batch_size": 2, "shuffle": True},
        valid_loader_kwargs={"batch_size": 1},
    )


def batches(brain, **options):
    """The training batches that the Brain's own loader gives."""
    return list(
        brain.make_dataloader(
            brain.datasets["train"],
            sb.Stage.TRAIN,
            None,
            batch_size=2,
            **options,
        )
    )
