"""What the numbers of a recipe's YAML may be."""

import math
from collections.abc import Mapping
from numbers import Real

from phasen_sb.errors import UserError

#: Kind, lowest and highest value; the objects that take other numbers say
#: themselves what is wrong with them.
RANGES = {
    "sample_rate": (int, 1, math.inf),
    "seed": (int, 0, 2**32 - 1),
    "data_jobs": (int, 1, math.inf),
    "number_of_epochs": (int, 1, math.inf),
    "validate_every": (int, 1, math.inf),
    "batch_size": (int, 1, math.inf),
    "valid_batch_seconds": (Real, 0, math.inf),
    "num_workers": (int, 0, math.inf),
    "crop_seconds": (Real, 0, math.inf),
    "remix_probability": (Real, 0, 1),
    "second_noise_probability": (Real, 0, 1),
    "clean_probability": (Real, 0, 1),
    "speed_probability": (Real, 0, 1),
    "coloration_probability": (Real, 0, 1),
    "reverberation_probability": (Real, 0, 1),
    "hiss_probability": (Real, 0, 1),
    "activation_memory_budget": (Real, 0, 1),
    "snr_low": (Real, -math.inf, math.inf),
    "snr_high": (Real, -math.inf, math.inf),
    "remix_snr_low": (Real, -math.inf, math.inf),
    "remix_snr_high": (Real, -math.inf, math.inf),
    "valid_fraction": (Real, 0, 1),
    "test_fraction": (Real, 0, 1),
    "lr": (Real, 0, math.inf),
    "power": (Real, 0, math.inf),
    "pesq_weight": (Real, 0, math.inf),
    "si_snr_weight": (Real, 0, math.inf),
    "envelope_weight": (Real, 0, math.inf),
    "warmup_steps": (int, 0, math.inf),
    "lr_final_share": (Real, 0, 1),
    "phase_lr_scale": (Real, 0, math.inf),
    "average_decay": (Real, 0, 1),
    "max_grad_norm": (Real, -math.inf, math.inf),
    "ckpt_interval_minutes": (Real, -math.inf, math.inf),
    "metric_jobs": (int, 1, math.inf),
    "metric_timeout": (Real, 0.001, math.inf),
    "pictured_utterances": (int, 0, math.inf),
}

#: Those that are on or off; any other value would count as on.
SWITCHES = {
    "use_tensorboard",
    "frequency_transform",
    "amplitude_to_phase",
    "phase_to_amplitude",
    "two_streams",
    "normalize",
}

#: Shares of the batches that are mixed anew.
EFFECTS = {
    "second_noise_probability",
    "clean_probability",
    "speed_probability",
    "coloration_probability",
    "reverberation_probability",
    "hiss_probability",
}

#: Those that may be null.
OPTIONAL = {
    "data_jobs",
    "metric_jobs",
    "crop_seconds",
    "valid_batch_seconds",
}


def check_ranges(hparams: Mapping) -> None:
    """Refuses numbers that make no sense, before they do harm.

    Arguments
    ---------
    hparams : dict
        Of a YAML; keys that are not there are passed over.

    Raises
    ------
    phasen_sb.errors.UserError
        If a value is of another kind, or out of its range.

    Example
    -------
    >>> check_ranges({"batch_size": -1})
    Traceback (most recent call last):
    ...
    phasen_sb.errors.UserError: batch_size is -1; it must be a whole number,
    at least 1.
    """
    for key in SWITCHES & hparams.keys():
        if not isinstance(hparams[key], bool):
            raise UserError(
                f"{key} is {hparams[key]!r}; it must be True or False."
            )
    for key in RANGES.keys() & hparams.keys():
        value = hparams[key]
        kind, low, high = RANGES[key]
        if value is None and key in OPTIONAL:
            continue
        number = isinstance(value, kind) and not isinstance(value, bool)
        if not number or not low <= value <= high or math.isinf(value):
            name = "a whole number" if kind is int else "a number"
            limits = ""
            if math.isfinite(high):
                limits = f" from {low} to {high}"
            elif math.isfinite(low):
                limits = f", at least {low}"
            null = ", or null" if key in OPTIONAL else ""
            raise UserError(
                f"{key} is {value!r}; it must be {name}{limits}{null}."
            )
    _check_front_end(hparams)
    _check_extra_speech(hparams)
    _check_effects(hparams)


def _check_extra_speech(hparams):
    folder = hparams.get("extra_clean_folder")
    if not folder or any(
        hparams.get(key) for key in ("noise_folder", "extra_noise_folder")
    ):
        return
    augmentation = hparams.get("augmentation")
    # One of somebody's own says nothing of the kind and is trusted.
    share = getattr(augmentation, "probability", 1)
    if augmentation is None or share != 1:
        raise UserError(
            f"extra_clean_folder is {folder}, but not all batches are mixed "
            "anew, so that this speech would have no noise; give "
            "--remix_probability 1, or an extra_noise_folder, or an "
            "augmentation that adds noise."
        )


def _check_effects(hparams):
    if hparams.get("remix_probability") != 0:
        return
    useless = sorted(key for key in EFFECTS if hparams.get(key))
    if useless:
        raise UserError(
            f"remix_probability is 0, so that {', '.join(useless)} would do "
            "nothing; set to 0 what is not wanted, or --remix_probability 1."
        )


def _check_front_end(hparams):
    sizes = [hparams.get(key) for key in ("hop_length", "win_length", "n_fft")]
    if None in sizes:
        return
    if not all(isinstance(s, Real) and 0 < s < math.inf for s in sizes):
        raise UserError(
            f"hop_length, win_length and n_fft are {sizes[0]!r}, {sizes[1]!r} "
            f"and {sizes[2]!r}; they must be positive numbers."
        )
    hop, window, n_fft = sizes
    samples = window * hparams["sample_rate"] / 1000
    if hop > window or samples > n_fft:
        raise UserError(
            f"hop_length ({hop} ms) must not exceed win_length ({window} ms = "
            f"{samples:g} samples), nor that n_fft ({n_fft} samples)."
        )
