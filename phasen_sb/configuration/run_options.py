"""SpeechBrain's run options: checked, and made to work together."""

import contextlib
import dataclasses
import difflib
import io
import os
import re
from collections.abc import Mapping

import torch
from speechbrain.utils.run_opts import RunOptions

from phasen_sb.configuration.inheritance import dump
from phasen_sb.configuration.keys import KEYS, TEXT, TEXT_OR_LIST
from phasen_sb.errors import UserError, choose
from phasen_sb.utils.hardware import (
    PRECISIONS,
    check_compiler,
    fastest_precision,
)

#: Options of SpeechBrain that the Brain ignores, and what to use instead.
NOT_SUPPORTED = {
    "jit": "use --compile",
    "jit_module_keys": "use --compile",
    "compile_module_keys": "--compile alone compiles the network",
    "remove_vector_weight_decay": "set weight_decay of opt_class in the YAML",
    "data_parallel_backend": "start several processes with torchrun",
}


#: What HyperPyYAML resolves, and texts in quotes of their own.
_TAGGED_OR_QUOTED = re.compile(
    r"!(ref|copy|new:|name:|apply:|module:|include:).*|'.*'|\".*\"", re.DOTALL
)


def parse_arguments(arguments: list[str]) -> tuple[str, RunOptions, str]:
    """Parses a recipe's command line as SpeechBrain does, but strictly.

    SpeechBrain accepts ``--dev`` for ``--device``, but then ignores some
    abbreviated options.

    Takes the words after the recipe's name. Returns the YAML file, the run
    options, and what overrides the YAML, as YAML text. Keys that hold text take
    what is written, such as the folder ``007`` or ``take #1``, not what YAML
    would make of it. Raises UserError if the file is missing, a run option is
    abbreviated or wrong, or a text is missing or has several words.

    Example
    -------
    >>> parse_arguments(["a.yaml", "--clean_folder", "007"])[2]
    "clean_folder: '007'"
    """
    if not arguments:
        raise UserError(
            "No hyperparameter file is given; name one, such as "
            "hparams/phasen.yaml."
        )
    options = RunOptions().as_dict()
    for word in arguments:
        name = word.partition("=")[0].removeprefix("--")
        if not word.startswith("--") or not name or name in options:
            continue
        meant = [option for option in options if option.startswith(name)]
        if meant:
            [near] = difflib.get_close_matches(name, meant, n=1, cutoff=0)
            raise UserError(
                f"--{name} is not an option; write --{near} in full."
            )
    arguments, texts = _take_texts(arguments, options)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            file, run_opts, others = RunOptions.from_command_line_args(
                arguments
            )
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        sentence = complaint.getvalue().rpartition("error: ")[2].strip()
        raise UserError(f"{sentence}.") from None
    return file, run_opts, (others + "\n" + texts).strip()


def _take_texts(arguments, options):
    """Takes out the keys that hold text, as YAML of just that text."""
    others: list[str] = []
    texts: list[tuple[str, list[str]]] = []
    words = others
    for word in arguments:
        name, equals, value = word.partition("=")
        name = name.removeprefix("--")
        if not word.startswith("--"):
            words.append(word)
        elif (
            name in KEYS
            and KEYS[name].kind in (TEXT, TEXT_OR_LIST)
            and name not in options
        ):
            words = [value] if equals else []
            texts.append((name, words))
        else:
            words = others
            words.append(word)
    yaml = ""
    for name, words in texts:
        if not any(words):
            raise UserError(
                f"--{name} has no value, perhaps for a variable that is not "
                "set; give one, or leave the option out."
            )
        if len(words) > 1 and words[1].endswith(".tar"):
            raise UserError(
                f"--{name} got {len(words)} names of shards, which the shell "
                "made of one; put it in quotes, such as "
                '"speech-{000000..000127}.tar".'
            )
        if len(words) > 1:
            raise UserError(
                f"{words[1]!r} on the command line belongs to no option; put "
                f'text with spaces in quotes: --{name} "{" ".join(words)}".'
            )
        if _is_yaml(words[0], KEYS[name]):
            yaml += f"{name}: {words[0]}\n"
        else:
            yaml += dump({name: words[0]})
    return others, yaml


def _is_yaml(value, key):
    """Whether a text is written as YAML; files that exist are what is meant."""
    return not os.path.lexists(value) and (
        _TAGGED_OR_QUOTED.fullmatch(value)
        or (value == "null" and key.optional)
        or (value.startswith("[") and key.kind == TEXT_OR_LIST)
    )


def settle_run_options(run_opts: RunOptions, hparams: Mapping) -> RunOptions:
    """Refuses what cannot work here, and completes SpeechBrain's parsing.

    ``--ckpt_interval_steps`` replaces the YAML's ``ckpt_interval_minutes``,
    ``--optimizer_step_limit`` becomes a number, and the precision ``auto``
    becomes the fastest one of the device. Options that are not on the command
    line may be set by ``hparams``, the loaded recipe. Raises UserError if an
    option is wrong, or needs hardware that is missing.

    Example
    -------
    >>> _, options, _ = RunOptions.from_command_line_args(
    ...     ["a.yaml", "--ckpt_interval_steps", "5"]
    ... )
    >>> settle_run_options(options, {"ckpt_interval_minutes": 15})[
    ...     "ckpt_interval_minutes"
    ... ]
    0
    """

    def option(name):
        given = name in run_opts.overridden_args or name not in hparams
        return run_opts[name] if given else hparams[name]

    _check_device(option("device"), run_opts.distributed_backend)
    changes = {}
    if option("precision") == "auto":
        changes["precision"] = fastest_precision(option("device"))
    for name in ("precision", "eval_precision"):
        choose(name, changes.get(name, option(name)), (*PRECISIONS, "fp16"))
        on_gpu = torch.cuda.is_available() and option("device") != "cpu"
        if option(name) == "fp16" and not on_gpu:
            raise UserError(
                f"--{name}=fp16 needs a GPU; on a CPU give bf16 or fp32."
            )
    for name, instead in NOT_SUPPORTED.items():
        if option(name):
            raise UserError(f"--{name} is not supported; {instead}.")
    if option("grad_accumulation_factor") < 1:
        raise UserError(
            "--grad_accumulation_factor is "
            f"{option('grad_accumulation_factor')}; it must be at least 1."
        )
    limit = option("optimizer_step_limit")
    if limit is not None:
        if not str(limit).isdecimal() or int(limit) < 1:
            raise UserError(
                f"--optimizer_step_limit is {limit!r}; give a whole number, "
                "at least 1."
            )
        changes["optimizer_step_limit"] = int(limit)
    budget = hparams.get("activation_memory_budget", 1)
    if budget != 1 and not option("compile"):
        raise UserError(
            f"activation_memory_budget is {budget}, which does nothing without "
            "--compile; add that, or leave it 1."
        )
    if option("compile"):
        check_compiler()
        if hparams.get("sync_batch_norm"):
            raise UserError(
                "sync_batch_norm is True, which cannot be compiled; give "
                "--sync_batch_norm False, or leave --compile out."
            )
        if hparams.get("crop_seconds", 1) is None:
            raise UserError(
                "crop_seconds is null, so that each batch has its own shape, "
                "but --compile compiles only one; give crop_seconds, or leave "
                "--compile out."
            )
    if option("ckpt_interval_steps") > 0 and (
        "ckpt_interval_minutes" not in run_opts.overridden_args
    ):
        changes["ckpt_interval_minutes"] = 0
    return dataclasses.replace(
        run_opts,
        **changes,
        overridden_args=run_opts.overridden_args | set(changes),
    )


def _check_device(device, backend):
    if "LOCAL_RANK" in os.environ and backend == "nccl":
        needed = int(os.environ["LOCAL_RANK"]) + 1
        if torch.cuda.device_count() < needed:
            raise UserError(
                f"Process {needed} has no GPU; start fewer processes, or add "
                "--device=cpu --distributed_backend=gloo."
            )
    if device is None:
        return
    try:
        kind = torch.device(device)
    except RuntimeError as error:
        raise UserError(
            f"--device={device} is not a device; give cpu, cuda or cuda:0."
        ) from error
    if kind.type == "cuda" and (kind.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device={device}, but PyTorch finds "
            f"{torch.cuda.device_count()} GPUs here; use --device=cpu."
        )
