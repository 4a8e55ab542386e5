#!/usr/bin/env python3
"""Trains PHASEN, tests it, and writes scores, audio and spectrograms.

    python recipes/train.py hparams/phasen.yaml
    python recipes/train.py hparams/phasen.yaml --data_folder /data/VoiceBank
    python recipes/train.py hparams/phasen.yaml \
        --clean_folder my/speech --noise_folder my/noise
    python recipes/train.py hparams/baselines/sepformer.yaml

Without data it trains on the packaged sample corpus. Started again, it goes on
where it was stopped.
"""

import os

from phasen_sb.utils.openmp import passive_waiting

os.environ.update(passive_waiting(os.environ))  # before PyTorch is loaded

import logging
import sys
from collections.abc import Mapping
from contextlib import closing

import speechbrain as sb
import torch
from speechbrain.utils.distributed import (
    if_main_process,
    infer_device,
    run_on_main,
)

from phasen_sb.configuration.recipe import Recipe
from phasen_sb.configuration.run_options import (
    parse_arguments,
    settle_run_options,
)
from phasen_sb.errors import UserError
from phasen_sb.metrics.checkpoint_selection import SELECTION_METRIC
from phasen_sb.models.loading import read_model
from phasen_sb.models.weights import load_initial_state
from phasen_sb.network.batch_norm import synchronize_norms
from phasen_sb.training.brain import EnhancementBrain
from phasen_sb.training.pictures import transform_matrices
from phasen_sb.training.processes import (
    LOST,
    explain_termination,
    is_lost_process,
)
from phasen_sb.training.results import write_results
from phasen_sb.training.run_record import (
    check_same_run,
    prepare_run,
    settings_of,
)
from phasen_sb.utils.freed_memory import keep_freed_memory

logger = logging.getLogger(__name__)


def main(arguments: list[str]) -> None:
    """Runs the recipe with command-line arguments."""
    # Read the command line and the recipe's YAML, and build what it describes
    file, run_opts, overrides = parse_arguments(arguments)
    recipe = Recipe.read(file, overrides, run_opts.debug)
    hparams = recipe.load()
    run_opts = settle_run_options(run_opts, hparams)

    # On a CPU, use freed memory again without asking the system for it
    if torch.device(run_opts.device or infer_device()).type == "cpu":
        keep_freed_memory()

    # Initialise DDP (useful only for multi-GPU training)
    sb.utils.distributed.ddp_init_group(run_opts)

    # Refuse to go on with a run of other settings or data; prepare the data
    settings = settings_of(recipe, run_opts)
    check_same_run(hparams, settings, run_opts.test_only)
    run_on_main(prepare_run, args=[hparams, settings, run_opts.test_only])

    # Create the experiment directory, with log.txt and hyperparams.yaml
    sb.create_experiment_directory(hparams["output_folder"])
    run_on_main(recipe.write, args=[hparams["output_folder"]])
    if recipe.from_sample and if_main_process():
        said = [f"{key}: {hparams[key]}" for key in recipe.from_sample]
        logger.info(f"sample.yaml sets {', '.join(said)}")

    # Create the data sets
    datasets = hparams["make_datasets"]()

    # Load weights of an earlier training, if the recipe names one
    untrained = transform_matrices(hparams["enhancer"].network)
    start_from(hparams, str(recipe.path))

    # Let the batch norms of several processes share their statistics
    if hparams.get("sync_batch_norm"):
        synchronize_norms(hparams["enhancer"])

    # Initialise the Brain
    brain = EnhancementBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    with closing(brain):
        # Score the noisy input, beside which all results stand
        for split in ("valid", "test"):
            brain.score_noisy(split, datasets[split])

        # Train; the loop goes on from the last checkpoint, if there is one
        brain.fit(
            hparams["epoch_counter"],
            datasets["train"],
            datasets["valid"],
            train_loader_kwargs={
                "batch_size": hparams["batch_size"],
                "shuffle": True,
                "num_workers": hparams["num_workers"],
            },
        )

        # Load the best checkpoint and evaluate it
        brain.evaluate(datasets["test"], max_key=SELECTION_METRIC)

        # Write scores, audio and pictures
        run_on_main(write_results, args=[brain, datasets, untrained])


def start_from(hparams: Mapping, recipe: str) -> None:
    """Loads ``init_from``, unless a checkpoint of this run will follow."""
    source = hparams["init_from"]
    if source is None or hparams["checkpointer"].find_checkpoint() is not None:
        return
    model = read_model(str(source))
    load_initial_state(
        hparams["enhancer"],
        model.state,
        str(source),
        recipe,
        hparams.get("init_partly"),
    )


if __name__ == "__main__":
    try:
        explain_termination()
        main(sys.argv[1:])
    except (UserError, OSError) as error:
        # Of a loader's worker it has a traceback before the sentence.
        sys.exit(f"Error: {str(error).rpartition('.UserError: ')[2].strip()}")
    except RuntimeError as error:
        if not is_lost_process(error):
            raise
        sys.exit(f"Error: {LOST} ({str(error).splitlines()[0]})")
    except KeyboardInterrupt:
        print(
            "Stopped; the same command goes on from the last checkpoint.",
            file=sys.stderr,
        )
        sys.exit(130)
