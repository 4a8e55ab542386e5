"""Waveforms of a user as ``[samples, channels]``, and back."""

from typing import TypeVar

import numpy as np
import torch

from phasen_sb.errors import UserError

#: Whatever a user gives comes back.
Wave = TypeVar("Wave", np.ndarray, torch.Tensor)
#: Full scale of integer samples.
FULL_SCALE = {"int16": 2.0**15, "int32": 2.0**31}


def to_signal(wave: np.ndarray | torch.Tensor) -> np.ndarray:
    """Turns ``[..., samples]`` into ``[samples, channels]`` with full scale 1.

    The samples may be floating point, int16 or int32, and become float64.
    Raises UserError for any other type, dtype or shape.

    Example
    -------
    >>> to_signal(np.array([0, 16384], "int16"))
    array([[0. ], [0.5]])
    """
    _check_type(wave)
    shape = list(wave.shape)
    if not shape or 0 in shape:
        raise UserError(
            f"The waveform has the shape {shape}; it needs at least one sample."
        )
    if shape[-1] <= 1000 and max(shape) > max(64, shape[-1]):
        raise UserError(
            f"The waveform has the shape {shape}, which looks like [..., "
            "samples, channels]; time comes last here, transpose it."
        )
    return to_channels(wave).T


def to_channels(wave: np.ndarray | torch.Tensor) -> np.ndarray:
    """Turns ``[..., samples]`` into ``[channels, samples]`` with full scale 1.

    As :func:`to_signal`, of any shape that has a channel.
    """
    _check_type(wave)
    if not wave.shape or 0 in wave.shape[:-1]:
        raise UserError(
            f"The waveform has the shape {list(wave.shape)}; it needs a "
            "channel, or at least an axis."
        )
    dtype = _dtype(wave)
    if dtype not in FULL_SCALE and "float" not in dtype:
        raise UserError(
            f"The waveform's samples are {dtype}; give floating point, int16 "
            "or int32."
        )
    if isinstance(wave, torch.Tensor):
        # NumPy has no bfloat16.
        wave = wave.detach().cpu().double().numpy()
    channels = int(np.prod(wave.shape[:-1]))
    signal = wave.reshape(channels, wave.shape[-1]).astype(np.float64)
    return signal / FULL_SCALE.get(dtype, 1.0)


def from_signal(signal: np.ndarray, like: Wave) -> Wave:
    """Gives a signal the type, shape, dtype and device of a waveform.

    The signal is ``[samples, channels]`` with full scale 1, where integers
    clip; ``like`` is what :func:`to_signal` was given. Their numbers of
    samples may differ.

    Example
    -------
    >>> from_signal(np.array([[0.25], [2.0]]), np.zeros(2, "int16"))
    array([ 8192, 32767], dtype=int16)
    """
    wave = signal.T.reshape(*like.shape[:-1], len(signal))
    dtype = _dtype(like)
    if dtype in FULL_SCALE:
        limits = np.iinfo(dtype)
        wave = np.rint(wave * FULL_SCALE[dtype])
        wave = wave.clip(limits.min, limits.max)
    if isinstance(like, torch.Tensor):
        return torch.from_numpy(wave).to(like.device, like.dtype)
    return wave.astype(like.dtype)


def _check_type(wave):
    if not isinstance(wave, (np.ndarray, torch.Tensor)):
        raise UserError(
            f"The waveform is a {type(wave).__name__}; give a NumPy array or "
            "a PyTorch tensor."
        )


def _dtype(wave):
    return str(wave.dtype).removeprefix("torch.")
