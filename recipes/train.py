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

import logging
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import speechbrain as sb
from ruamel.yaml import YAML
from speechbrain.utils.distributed import run_on_main

from phasen_sb.configuration.inheritance import expand
from phasen_sb.configuration.recipe import (
    find_hparams,
    load_recipe,
    merge_overrides,
)
from phasen_sb.configuration.run_options import (
    parse_arguments,
    settle_run_options,
)
from phasen_sb.errors import UserError
from phasen_sb.metrics.selection import SELECTION_METRIC
from phasen_sb.models.loading import read_model
from phasen_sb.models.weights import load_state
from phasen_sb.training.brain import EnhancementBrain
from phasen_sb.training.pictures import transform_matrices
from phasen_sb.training.run_record import (
    check_same_run,
    prepare_run,
    settings_of,
    write_results,
)

logger = logging.getLogger(__name__)


def main(arguments: list[str]) -> None:
    """Runs the recipe with command-line arguments."""
    file, run_opts, overrides = parse_arguments(arguments)
    written = find_hparams(file)
    file, given = expand(written, overrides)
    try:
        path, hparams, overrides = load_recipe(file, given, run_opts.debug)
    except UserError as error:  # may name the expanded file
        raise UserError(str(error).replace(str(file), str(written))) from error
    run_opts = settle_run_options(run_opts, hparams)
    sb.utils.distributed.ddp_init_group(run_opts)
    settings = settings_of(path, overrides, run_opts)
    check_same_run(hparams, settings, run_opts.test_only)
    run_on_main(prepare_run, args=[hparams, settings, run_opts.test_only])
    sb.create_experiment_directory(
        experiment_directory=hparams["output_folder"],
        hyperparams_to_save=path,
        overrides=overrides,
    )
    run_on_main(say_what_the_sample_sets, args=[path, given])
    datasets = hparams["make_datasets"]()
    untrained = transform_matrices(hparams["enhancer"].network)
    start_from(hparams, written)

    brain = EnhancementBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    with closing(brain):
        for split in ("valid", "test"):
            brain.score_noisy(split, datasets[split])
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
        brain.evaluate(
            datasets["test"],
            max_key=SELECTION_METRIC,
        )
        run_on_main(write_results, args=[brain, datasets, untrained])


def start_from(hparams: Mapping, path: Path) -> None:
    """Loads ``init_from``, unless a checkpoint of this run will follow."""
    source = hparams["init_from"]
    if source is None or hparams["checkpointer"].find_checkpoint() is not None:
        return
    model = read_model(str(source))
    load_state(hparams["enhancer"], model.state, str(source), str(path))


def say_what_the_sample_sets(path: Path, overrides: str) -> None:
    """Logs the values that ``sample.yaml`` puts over a YAML's."""
    given = YAML().load(overrides) or {}
    values = merge_overrides(path, overrides)
    said = [f"{k}: {v}" for k, v in values.items() if k not in given]
    if said:
        logger.info(f"sample.yaml sets {', '.join(said)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (UserError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        print(
            "Stopped; the same command goes on from the last checkpoint.",
            file=sys.stderr,
        )
        sys.exit(130)
