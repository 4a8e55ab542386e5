"""SpeechBrain's run options: checked, and made to work together.

Authors
 * The phasen_sb authors 2026
"""

import dataclasses
import os
from collections.abc import Mapping

import torch
from speechbrain.utils.run_opts import RunOptions

from phasen_sb.errors import UserError


def settle_run_options(run_opts: RunOptions, hparams: Mapping) -> RunOptions:
    """Refuses what cannot work here, and mends what SpeechBrain leaves open.

    ``--ckpt_interval_steps`` takes the place of the YAML's
    ``ckpt_interval_minutes``, and ``--optimizer_step_limit`` becomes a number.

    Arguments
    ---------
    run_opts : RunOptions
        Of the command line.
    hparams : dict
        The loaded YAML, which may set run options, too.

    Returns
    -------
    RunOptions

    Raises
    ------
    phasen_sb.errors.UserError
        If an option is wrong, or needs hardware that is not there.

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
    for name in ("precision", "eval_precision"):
        if option(name) not in ("fp32", "fp16", "bf16"):
            raise UserError(
                f"{name} is {option(name)!r}; give fp32, fp16 or bf16."
            )
        on_gpu = torch.cuda.is_available() and option("device") != "cpu"
        if option(name) == "fp16" and not on_gpu:
            raise UserError(
                f"--{name}=fp16 needs a GPU; on a CPU give bf16 or fp32."
            )
    if option("jit") or option("jit_module_keys"):
        raise UserError(
            "--jit does not work with this network; use --compile instead."
        )
    if option("data_parallel_backend"):
        raise UserError(
            "--data_parallel_backend is not supported; start several "
            "processes with torchrun instead."
        )
    if option("grad_accumulation_factor") < 1:
        raise UserError(
            "--grad_accumulation_factor is "
            f"{option('grad_accumulation_factor')}; it must be at least 1."
        )
    changes = {}
    if option("optimizer_step_limit") is not None:
        try:
            changes["optimizer_step_limit"] = int(
                option("optimizer_step_limit")
            )
        except ValueError as error:
            raise UserError(
                "--optimizer_step_limit is "
                f"{option('optimizer_step_limit')!r}; give a whole number."
            ) from error
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
            f"--device={device} is no device; give cpu, cuda or cuda:0."
        ) from error
    if kind.type == "cuda" and (kind.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device={device}, but PyTorch finds "
            f"{torch.cuda.device_count()} GPUs here; use --device=cpu."
        )
