"""Optimizers: made for the device, and stepped without waiting for it."""

import inspect
from collections.abc import Callable, Iterable

import torch

#: How an optimizer computes, which a checkpoint must not change.
IMPLEMENTATION = ("foreach", "fused", "capturable")


def make_optimizer(
    opt_class: Callable, parameters: Iterable, device: torch.device | str
) -> torch.optim.Optimizer:
    """Makes an optimizer, on a CUDA GPU with its fused implementation.

    Arguments
    ---------
    opt_class : callable
        Of a YAML: makes an optimizer of parameters. What it sets itself stays.
    parameters : iterable
        The parameters.
    device : torch.device
        Where they are.

    Returns
    -------
    torch.optim.Optimizer
        It loads checkpoints of earlier versions, and of other devices.

    Example
    -------
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> make_optimizer(torch.optim.SGD, [weight], "cpu").defaults["fused"]
    """
    options = {}
    if torch.device(device).type == "cuda":
        arguments = inspect.signature(opt_class).parameters
        chosen = {
            name: arguments[name].default
            for name in ("fused", "foreach", "differentiable")
            if name in arguments
        }
        if chosen.get("fused", False) is None and not any(chosen.values()):
            options = {"fused": True}
    optimizer = opt_class(parameters, **options)
    optimizer.register_load_state_dict_pre_hook(join_groups)
    optimizer.register_load_state_dict_pre_hook(keep_implementation)
    return optimizer


def can_skip(optimizer: torch.optim.Optimizer) -> bool:
    """Whether :func:`step_if` can make its steps."""
    # That is what torch.amp.GradScaler looks for.
    return getattr(optimizer, "_step_supports_amp_scaling", False)


def step_if(taken: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Makes a step, or none; the device decides.

    Arguments
    ---------
    taken : torch.Tensor
        A bool, scalar, on the device. Where it is False, neither parameters
        nor the optimizer's state change.
    optimizer : torch.optim.Optimizer
        A fused one.

    Example
    -------
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> weight.grad = torch.full_like(weight, float("nan"))
    >>> optimizer = torch.optim.Adam([weight], lr=0.1, fused=True)
    >>> step_if(weight.grad.isfinite().all(), optimizer)
    >>> weight.item()
    0.0
    """
    # The interface between torch.amp.GradScaler and fused optimizers.
    optimizer.grad_scale = None
    optimizer.found_inf = (~taken).float()
    try:
        optimizer.step()
    finally:
        del optimizer.grad_scale, optimizer.found_inf


def keep_implementation(optimizer: torch.optim.Optimizer, state: dict) -> dict:
    """Keeps how an optimizer computes when it loads what another saved."""
    groups = [
        group | {key: own[key] for key in IMPLEMENTATION if key in own}
        for group, own in zip(
            state["param_groups"], optimizer.param_groups, strict=False
        )
    ]
    rest = state["param_groups"][len(groups) :]  # which torch will refuse
    return {**state, "param_groups": groups + rest}


def join_groups(optimizer: torch.optim.Optimizer, state: dict) -> dict:
    """Joins groups: optimizers of earlier versions had one for each stream.

    ``state`` is a ``state_dict``. Parameters of such groups, one after the
    other, are those of the one group of the optimizer that loads; groups that
    an ``opt_class`` makes itself stay.
    """
    first, *_ = groups = state["param_groups"]
    if "lr_scale" not in first:
        return state
    joined = {key: first[key] for key in first if key != "lr_scale"}
    joined["params"] = [index for group in groups for index in group["params"]]
    return {**state, "param_groups": [joined]}
