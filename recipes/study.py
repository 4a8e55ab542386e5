#!/usr/bin/env python3
"""Trains what a study lists, one after another, and compares the results.

    python recipes/study.py hparams/studies/ablations.yaml
    python recipes/study.py hparams/studies/ablations.yaml \
        --data_folder /data/VoiceBank --number_of_epochs 10

Whatever follows the study's file is passed to recipes/train.py in each
training, so all have the same budget. Parts of an object, --network
'{blocks: 2}', are added to those that a training sets. Started again, it goes
on where it was stopped. Results: one folder for each training and table.md, in
results/STUDY or --study_folder.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from phasen_sb.configuration.reading import find_hparams
from phasen_sb.errors import UserError
from phasen_sb.studies.study import (
    check_options,
    command_line,
    read_study,
    table,
    take_parts,
)
from phasen_sb.utils.file_names import RESULTS
from phasen_sb.utils.files import read_json, write_atomically

TRAIN = Path(__file__).with_name("train.py")


def main(arguments: list[str]) -> None:
    """Runs a study with command-line arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", metavar="STUDY.yaml")
    parser.add_argument(
        "--study_folder",
        type=Path,
        metavar="DIR",
        help="where the results go (default: results/STUDY)",
    )
    options, for_train = parser.parse_known_args(arguments)
    study = read_study(find_hparams(options.study))
    study, for_train = take_parts(study, for_train)
    check_options(study, for_train)
    root = options.study_folder or Path("results", study.name)
    if "=" in str(root):
        raise UserError(f"{root} contains a '='; give another --study_folder.")
    folders = {}
    for name in study.runs:
        folder = root / name
        command = command_line(study, name, folder) + for_train
        results = folder / RESULTS
        if results.is_file():
            check_same_command(results, command)
            print(f"{name}: has finished, see {folder}", flush=True)
        else:
            print(f"{name}: {' '.join(command)}", flush=True)
            done = subprocess.run([sys.executable, str(TRAIN), *command])
            if done.returncode:
                raise UserError(
                    f"The training {name} ended with exit status "
                    f"{done.returncode}; see above and {folder}/log.txt. Once "
                    "that is fixed, the same command goes on from there."
                )
        folders[name] = folder
        # After each training: a long study can be read before it ends.
        text = table(study, folders)
        write_atomically(root / "table.md", text)
    print(f"\n{text}\nThis table is in {root / 'table.md'}.")


def check_same_command(results: Path, command: list[str]) -> None:
    """Refuses to tabulate results of another budget or other settings."""
    fix = "give another --study_folder, or delete that folder to train anew"
    before = read_json(results, fix)["command"]
    if not before.endswith(shlex.join(command)):
        raise UserError(
            f"{results} comes from another command ({before}); {fix}."
        )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (UserError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
