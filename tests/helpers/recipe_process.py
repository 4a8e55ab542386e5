"""Starts the recipe in processes of its own, quickly.

A server that has imported torch and SpeechBrain forks, and the fork runs
recipes/train.py with a command line: a real process that can be killed, without
the seconds that imports take.
"""

import json
import multiprocessing
import os
import runpy
import sys
from pathlib import Path

RECIPE = Path(__file__).parents[2] / "recipes" / "train.py"
TINY = (
    "{amplitude_channels: 4, phase_channels: 2, blocks: 1, "
    "recurrent_units: 8, dense_units: 16}"
)
# Quick, and alike on every machine.
ARGUMENTS = {
    "network": TINY,
    "n_fft": 256,
    "win_length": 16,
    "hop_length": 8,
    "crop_seconds": 0.3,
    "number_of_epochs": 2,
    "num_workers": 0,
    "data_jobs": 1,
    "metric_jobs": 1,
    "precision": "fp32",
    "device": "cpu",
}

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    ["phasen_sb.training.results", "torch._dynamo", "matplotlib.figure"]
)


def command(*flags, yaml="hparams/phasen.yaml", **options) -> list[str]:
    """The command line of a tiny run; options override the usual ones."""
    words = [str(yaml), "--noprogressbar", *flags]
    for name, value in (ARGUMENTS | options).items():
        if value is not None:
            words += [f"--{name}", str(value)]
    return words


class Run:
    """One process that runs the recipe in a folder.

    Arguments
    ---------
    folder : pathlib.Path
        Its working directory.
    arguments : list of str
        Its command line.
    environment : dict, optional
        Variables to set.
    script : pathlib.Path
        What to run instead of the recipe.
    """

    def __init__(self, folder, arguments, environment=None, script=RECIPE):
        folder.mkdir(exist_ok=True)
        self.output = folder / f"output{os.getpid()}_{id(self)}.txt"
        self.output.touch()
        self.process = _server.Process(
            target=_main,
            args=(
                str(folder),
                [str(script), *arguments],
                str(self.output),
                environment or {},
            ),
        )
        self.process.start()

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.process.kill()
        self.process.join()

    def wait(self, seconds: float = 100) -> int:
        """The exit status, 0 if all is well."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.kill()
            raise TimeoutError(self.text())
        return self.process.exitcode

    def text(self) -> str:
        """What it wrote to the terminal."""
        return self.output.read_text(encoding="utf-8")


def run(folder, *flags, environment=None, **options) -> Run:
    """Runs the recipe to its end."""
    running = Run(folder, command(*flags, **options), environment)
    running.wait()
    return running


def finish(folder, *flags, **options) -> Path:
    """Runs the recipe, which must succeed; returns the output folder."""
    done = run(folder, *flags, **options)
    assert done.process.exitcode == 0, done.text()
    return output_folder(folder)


def refuse(folder, *flags, **options) -> str:
    """Runs the recipe, which must fail with one sentence; returns that."""
    done = run(folder, *flags, **options)
    text = done.text()
    assert done.process.exitcode == 1, text
    assert "Traceback" not in text, text
    last = text.strip().splitlines()[-1]
    assert last.startswith("Error: ") and last.endswith((".", "?")), text
    return last.removeprefix("Error: ")


def output_folder(folder) -> Path:
    """The one output folder within a working directory."""
    [found] = folder.glob("results/*/*")
    return found


def results(folder) -> dict:
    """What ``results.json`` of a finished run says."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def _main(folder, arguments, output, environment):
    os.chdir(folder)
    os.setsid()
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environment)
    import speechbrain.utils.logger
    import torch

    torch.set_num_threads(1)
    # Otherwise each data loader would start a server, with all imports.
    multiprocessing.set_start_method("fork", force=True)
    # For env.log SpeechBrain calls pip, which takes longer than all else.
    speechbrain.utils.logger.get_environment_description = str
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")
