"""Says in one sentence what is wrong with the keys or values of a recipe."""

import difflib
import math
from collections.abc import Container, Iterable, Mapping
from numbers import Real
from pathlib import Path

from speechbrain.utils.run_opts import RunOptions

from phasen_sb.configuration.keys import (
    KEYS,
    LIST,
    NUMBER,
    NUMBER_OR_TRUE,
    REMOVED,
    SWITCH,
    SWITCH_OR_AUTO,
    SWITCH_OR_RUNNING,
    TEXT,
    WHOLE,
    Key,
    describe_limits,
    keys_with,
)
from phasen_sb.errors import UserError


def suggest(name: str, names: Iterable[str]) -> str:
    """Ends a sentence with the nearest of some names, if one is near."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."


def check_keys(path: Path, tree: Mapping, used: Container[str]) -> None:
    """Finds typing errors: keys that are missing, or that nothing reads.

    Raises UserError if a key is missing, or is neither read by the recipe, nor
    a run option, nor ``used``: referred to by the recipe itself. ``path`` is
    that of the recipe, for messages.
    """
    required = keys_with("required")
    for key in sorted(required - set(tree)):
        near = suggest(key, set(tree) - required)
        raise UserError(f"{path} lacks the key {key!r}{near}")
    options = RunOptions().as_dict().keys() | keys_with("read")
    for key in tree:
        hidden = key.startswith("__")  # evaluated, not kept
        if not (hidden or key in required or key in used or key in options):
            near = suggest(key, required)
            raise UserError(f"Nothing reads the key {key!r} of {path}{near}")


def check_overrides(path: Path, tree: Mapping, overrides: Mapping) -> None:
    """Refuses overrides that do not fit what they override.

    Raises UserError if the tree of the recipe at ``path`` has no such key, or
    it cannot take that value.
    """
    for key, value in overrides.items():
        if key in REMOVED:  # drop_removed knows what to say
            continue
        if key not in tree:
            near = suggest(key, [*tree, *RunOptions().as_dict()])
            raise UserError(f"{path} has no key {key!r} to override{near}")
        if isinstance(value, Mapping) and not isinstance(tree[key], Mapping):
            raise UserError(
                f"{key} of {path} has no parts to override; change it in a "
                "copy of that file."
            )
        plain = isinstance(value, (str, int, float, list))
        if plain and _is_object(tree[key]) and not _is_object(value):
            raise UserError(
                f"{key} of {path} is an object and cannot be {value!r}; give "
                f'some of its parts, --{key} "{{part: value}}", or another '
                f'object, --{key} "!new:module.Class".'
            )


def _is_object(node):
    tag = getattr(getattr(node, "tag", None), "value", None)
    return str(tag).startswith(("!new:", "!name:"))


def drop_removed(path: Path, tree: dict) -> None:
    """Drops keys of earlier versions, if they are set to what is left of them.

    Takes them out of the tree of the recipe at ``path``. Raises UserError if
    such a key is set to something else.
    """
    for key, left in REMOVED.items():
        value = tree.pop(key, left)
        if value != left:
            raise UserError(
                f"{key} of {path} is {value!r}, but this key was removed and "
                f"counts as {left}; leave it out."
            )


def check_ranges(values: Mapping) -> None:
    """Raises UserError if a value is of another kind or out of its range."""
    for name, key in KEYS.items():
        if name in values and not _is_valid(values[name], key):
            quotes = ", in quotes" if key.kind == TEXT else ""
            raise UserError(
                f"{name} is {values[name]!r}; it must be "
                f"{describe_limits(key)}{quotes}."
            )


def check_values(hparams: Mapping) -> None:
    """Refuses values that make no sense, before they do harm.

    Takes the loaded recipe; keys that are not there are skipped. Raises
    UserError if a value is of another kind, out of its range, or useless beside
    the others.
    """
    check_ranges(hparams)
    _check_front_end(hparams)
    _check_extra_speech(hparams)
    _check_remix_shares(hparams)
    if hparams.get("init_partly") and not hparams.get("init_from"):
        raise UserError(
            f"init_partly is {hparams['init_partly']!r}, but nothing is taken "
            "without init_from; give both, or leave it out."
        )


def _is_valid(value, key: Key) -> bool:
    if value is None and key.optional:
        return True
    if key.kind == SWITCH:
        return isinstance(value, bool)
    if key.kind == SWITCH_OR_AUTO:
        return isinstance(value, bool) or value == "auto"
    if key.kind == SWITCH_OR_RUNNING:
        return isinstance(value, bool) or value == "running"
    if key.kind == LIST:
        return isinstance(value, (list, tuple))
    if key.kind == TEXT:
        return isinstance(value, str)
    if key.kind not in (WHOLE, NUMBER, NUMBER_OR_TRUE):
        return True
    if isinstance(value, bool):
        return value and key.kind == NUMBER_OR_TRUE
    return (
        isinstance(value, int if key.kind == WHOLE else Real)
        and key.low <= value <= key.high
        and not math.isinf(value)
    )


def _check_front_end(hparams):
    names = ("hop_length", "win_length", "n_fft")
    if not set(names) <= hparams.keys():
        return
    hop, window, n_fft = (hparams[name] for name in names)
    samples = window * hparams["sample_rate"] / 1000
    if hop > window or samples > n_fft:
        raise UserError(
            f"hop_length ({hop} ms) must not exceed win_length ({window} ms = "
            f"{samples:g} samples), nor that n_fft ({n_fft} samples)."
        )


def _check_extra_speech(hparams):
    folder = hparams.get("extra_clean_folder")
    if not folder or any(
        hparams.get(key) for key in ("noise_folder", "extra_noise_folder")
    ):
        return
    augmentation = hparams.get("augmentation")
    # A user's own class need not have a probability, and is trusted.
    share = getattr(augmentation, "probability", 1)
    if augmentation is None or share != 1:
        raise UserError(
            f"extra_clean_folder is {folder}, but not all batches are "
            "remixed, so that this speech would have no noise; give "
            "--remix_probability 1, or an extra_noise_folder, or an "
            "augmentation that adds noise."
        )


def _check_remix_shares(hparams):
    if hparams.get("remix_probability") != 0:
        return
    useless = sorted(k for k in keys_with("remix_share") if hparams.get(k))
    if useless:
        raise UserError(
            f"remix_probability is 0, so that {', '.join(useless)} would do "
            "nothing; set to 0 what is not wanted, or --remix_probability 1."
        )
