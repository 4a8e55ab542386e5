"""Enhancer: clean speech from waveforms and files, of any length and rate.

Authors
 * The phasen_sb authors 2026
"""

import os
import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from speechbrain.inference.enhancement import WaveformEnhancement
from speechbrain.utils.fetching import LocalStrategy

from phasen_sb.configuration import fastest_precision
from phasen_sb.enhancer import PhasenEnhancer, level
from phasen_sb.errors import UserError
from phasen_sb.inference.audio_files import (
    AudioWriter,
    check_whole,
    choose_format,
    format_of,
    open_audio,
    read_samples,
)
from phasen_sb.inference.chunks import ChunkPlan, process_in_chunks
from phasen_sb.inference.outputs import (
    EnhancedFile,
    PeakMeter,
    check_output,
    format_by_suffix,
    output_path,
)
from phasen_sb.inference.resampling import change_at_rate
from phasen_sb.inference.running_norms import RunningNorms
from phasen_sb.inference.survey import Survey, replace_non_finite, survey

PRECISIONS = ("auto", "fp32", "bf16")
#: Samples (of all channels together) that a chunk may have: 64 channels at
#: 192 kHz get shorter chunks than music does.
CHUNK_LIMIT = 2**26
BLOCK_SECONDS = 10
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class Enhancer(WaveformEnhancement):
    """SpeechBrain's ``WaveformEnhancement`` for recordings as they come.

    Any sample rate, any number of channels (each enhanced by itself), any
    length in constant memory; rate, channels, level and length are kept.
    Made by :meth:`from_pretrained`. ``enhance_batch``, inherited, enhances a
    batch at the model's rate as a whole.

    Example
    -------
    >>> from phasen_sb import PHASEN, ConvISTFT, ConvSTFT
    >>> network = PHASEN(recurrent_units=8, dense_units=8)
    >>> model = PhasenEnhancer(ConvSTFT(16000), ConvISTFT(16000), network)
    >>> enhancer = Enhancer({"enhance_model": model}, {"sample_rate": 16000})
    >>> enhancer.enhance(np.random.randn(2, 1234), 44100).shape
    (2, 1234)
    """

    HPARAMS_NEEDED = ["sample_rate"]
    MODULES_NEEDED = ["enhance_model"]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.source = "untitled model"
        self.plan = ChunkPlan()
        model = self.mods.enhance_model
        self._core = model
        self._running = RunningNorms(model)
        self._normalize = getattr(model, "normalize", False)
        if self._normalize:
            # The level is that of the whole recording, not of a chunk.
            self._core = PhasenEnhancer(
                model.stft, model.istft, model.network, normalize=False
            ).eval()

    @property
    def sample_rate(self) -> int:
        """The model's sample rate (Hz)."""
        return self.hparams.sample_rate

    def mask(self, wave: np.ndarray) -> np.ndarray | None:
        """The mask that the network estimates for a whole waveform.

        Arguments
        ---------
        wave : np.ndarray
            ``[samples]`` at the model's sample rate.

        Returns
        -------
        np.ndarray or None
            Magnitude ``[frames, bins]``; None if the model has no mask.
        """
        model = self.mods.enhance_model
        if not isinstance(model, PhasenEnhancer):
            return None
        x = torch.from_numpy(wave.astype(np.float32))[None].to(self.device)
        with torch.inference_mode():
            if model.normalize:
                x = x / level(x)
            mask = model.network(model.stft(x)).mask[0]
        if mask.dim() == 3:  # complex
            mask = mask.square().sum(-1).sqrt()
        return mask.float().cpu().numpy()

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike,
        device: str | None = None,
        precision: str = "auto",
        chunk_seconds: int = 10,
    ) -> "Enhancer":
        """Loads a model.

        Arguments
        ---------
        source : str or path
            A folder that ``phasen export`` wrote, the output folder of a
            training run, or a model's name on the Hugging Face hub.
        device : str, optional
            ``cpu``, ``cuda``, ``cuda:1``, ``mps``; by default CUDA if there
            is any.
        precision : str
            ``fp32``, ``bf16``, or ``auto``: bf16 where hardware computes it.
        chunk_seconds : int
            Longer recordings are enhanced in chunks of this length.

        Returns
        -------
        Enhancer

        Raises
        ------
        UserError
            If there is no such model, it is damaged, or the device is not
            there.
        """
        device = _device(device)
        if precision not in PRECISIONS:
            raise UserError(
                f"The precision {precision!r} is unknown; give one of "
                f"{', '.join(PRECISIONS)}."
            )
        if precision == "auto":
            precision = fastest_precision(device)
        if chunk_seconds < 1:
            raise UserError(
                f"chunk_seconds is {chunk_seconds}; it must be at least 1."
            )
        options = {"device": device, "precision": precision}
        enhancer = _load(cls, source, options)
        enhancer.source = str(source)
        enhancer.plan = ChunkPlan(int(chunk_seconds))
        return enhancer

    def enhance(
        self,
        wave: np.ndarray | torch.Tensor,
        sample_rate: int,
        strength: float = 1.0,
    ) -> np.ndarray | torch.Tensor:
        """Enhances a waveform.

        Arguments
        ---------
        wave : np.ndarray or torch.Tensor
            ``[samples]`` or ``[..., samples]``: time comes last, every other
            axis counts channels, each enhanced by itself. Floating point, or
            int16 or int32 with their own full scale.
        sample_rate : int
            Its sample rate (Hz).
        strength : float
            0 returns the input, 1 the enhanced signal, values between mix
            the two.

        Returns
        -------
        np.ndarray or torch.Tensor
            As ``wave``: same kind, shape, dtype and device. NaN and infinity
            come back as zero, with a warning.

        Raises
        ------
        UserError
            If the shape, dtype, rate or strength cannot be.
        """
        _check_strength(strength)
        if not sample_rate >= 1 or sample_rate != int(sample_rate):
            raise UserError(
                f"The sample rate is {sample_rate}; it must be a positive "
                "whole number (Hz)."
            )
        rate = int(sample_rate)
        scale = _full_scale(wave)
        array = wave
        if isinstance(wave, torch.Tensor):
            array = wave.detach().cpu()
            array = array.double() if scale is None else array
            array = array.numpy()
        signal = array.reshape(-1, array.shape[-1]).T.astype(np.float64)
        if scale is not None:
            signal /= scale
        position = 0

        def read(count):
            nonlocal position
            position += count
            return signal[position - count : position]

        facts = survey([signal], signal.shape[1], rate, self.sample_rate)
        if facts.non_finite:
            warnings.warn(
                f"{facts.non_finite} samples were NaN or infinite and became "
                "zero.",
                stacklevel=2,
            )
        parts = self._enhanced_parts(read, facts, rate, strength)
        result = np.concatenate(list(parts)).T.reshape(array.shape)
        if scale is not None:
            limits = np.iinfo(array.dtype)
            result = np.rint(result * scale).clip(limits.min, limits.max)
        if isinstance(wave, torch.Tensor):
            return torch.from_numpy(result).to(wave.device, wave.dtype)
        return result.astype(wave.dtype)

    def enhance_file(
        self,
        filename: str | os.PathLike,
        output_filename: str | os.PathLike | None = None,
        strength: float = 1.0,
        format: str | None = None,
        normalize: bool = False,
        overwrite: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> EnhancedFile:
        """Enhances a file, streaming from and to the disk.

        Arguments
        ---------
        filename : path
            Any file that libsndfile reads.
        output_filename : path, optional
            Where to write; beside the input with ``.enhanced`` before the
            suffix by default.
        strength : float
            0 returns the input, 1 the enhanced signal.
        format : str, optional
            Such as ``flac`` or ``wav:PCM_24``; by default that of the output
            file's suffix if it differs from the input's, else the input's.
        normalize : bool
            Scale the output down if it exceeds full scale.
        overwrite : bool
            Replace an output that is there.
        progress : callable, optional
            Called with the seconds done since the last call. An exception
            that it raises ends the work and leaves nothing behind.

        Returns
        -------
        EnhancedFile

        Raises
        ------
        UserError
            If the input cannot be read, or the output not be written.
        """
        _check_strength(strength)
        started = perf_counter()
        source = Path(filename)
        target = output_path(source, output_filename, format)
        if output_filename is not None and format is None:
            format = format_by_suffix(source, target)
        check_output(source, target, overwrite)
        with open_audio(source) as file:
            rate, channels = file.samplerate, file.channels
            chosen = choose_format(format_of(file), format)
            tags = file.copy_metadata()
            facts = survey(_blocks(file), channels, rate, self.sample_rate)
            check_whole(file, facts.samples)
        meter = PeakMeter()
        gain = 1.0

        def write(path, audio_format, blocks):
            writer = AudioWriter(
                path, rate, channels, audio_format, facts.samples, tags
            )
            with writer:
                for block in blocks:
                    writer.write(block)

        def enhanced():
            with open_audio(source) as file:
                for part in self._enhanced_parts(
                    lambda count: read_samples(file, count),
                    facts,
                    rate,
                    strength,
                ):
                    meter.add(part)
                    yield part
                    if progress is not None:
                        progress(len(part) / rate)

        if normalize and chosen.limited:
            gain = self._write_scaled(write, target, chosen, enhanced, meter)
        else:
            write(target, chosen, enhanced())
        return EnhancedFile(
            source,
            target,
            facts.samples / rate,
            perf_counter() - started,
            facts.non_finite,
            meter.over if chosen.limited and gain == 1.0 else 0,
            meter.peak,
            gain,
        )

    def _write_scaled(self, write, target, chosen, enhanced, meter):
        """By way of a float file: the peak is known only at the end."""
        with tempfile.TemporaryDirectory(
            dir=_existing_parent(target), prefix=".phasen-"
        ) as folder:
            unscaled = Path(folder) / "unscaled.w64"
            write(unscaled, choose_format(chosen, "w64:DOUBLE"), enhanced())
            gain = 1.0 if meter.peak <= 1.0 else 1.0 / meter.peak
            with open_audio(unscaled) as file:
                write(target, chosen, (b * gain for b in _blocks(file)))
        return gain

    def _enhanced_parts(self, read, facts: Survey, rate, strength):
        plan = self.plan
        channels = len(facts.levels)
        seconds = CHUNK_LIMIT // (rate * channels) - 2 * plan.context
        if seconds < plan.step:
            plan = ChunkPlan(max(1, seconds), plan.context)

        moments = [{} for _ in facts.levels]

        def read_finite(count):
            return replace_non_finite(read(count))[0]

        def process(chunk):
            if strength == 0:
                return chunk
            result = np.empty_like(chunk)
            for i, rms in enumerate(facts.levels):
                channel = np.ascontiguousarray(chunk[:, i])
                if i and np.array_equal(channel, chunk[:, i - 1]):
                    # Mono in two channels, as interviews often are.
                    result[:, i] = result[:, i - 1]
                    continue
                with self._running.remember(moments[i]):
                    change = change_at_rate(
                        channel,
                        rate,
                        self.sample_rate,
                        lambda low, rms=rms: self._change(low, rms),
                    )
                result[:, i] = channel + strength * change
            return result

        return process_in_chunks(
            read_finite, facts.samples, rate, process, plan
        )

    def _change(self, wave, rms):
        """What enhancing adds to ``[samples]`` at the model's rate."""
        if not wave.any():
            return np.zeros_like(wave)
        scale = rms if self._normalize else 1.0
        x = torch.from_numpy((wave / scale).astype(np.float32))[None]
        stft = getattr(self._core, "stft", None)
        if stft is not None and not stft.center:
            # Without centering the end is in no frame.
            x = torch.nn.functional.pad(x, (0, stft.win_length))
        precision = torch.autocast(
            self.device_type,
            torch.bfloat16,
            enabled=self.precision == "bf16",
        )
        with torch.inference_mode(), precision:
            x = x.to(self.device)
            # The difference of what the model saw: exactly zero where it
            # changes nothing.
            change = (self._core(x)[0] - x)[0, : len(wave)]
        return change.double().cpu().numpy() * scale


def _existing_parent(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.parent


def _blocks(file):
    while len(block := read_samples(file, BLOCK_SECONDS * file.samplerate)):
        yield block


def _check_strength(strength):
    if not 0 <= strength <= 1:
        raise UserError(f"The strength is {strength}; it must be from 0 to 1.")


def _full_scale(wave):
    if not isinstance(wave, (np.ndarray, torch.Tensor)):
        raise UserError(
            f"The waveform is a {type(wave).__name__}; give a NumPy array or "
            "a PyTorch tensor."
        )
    shape, dtype = list(wave.shape), str(wave.dtype).removeprefix("torch.")
    if not shape or 0 in shape:
        raise UserError(
            f"The waveform has the shape {shape}; it needs at least one sample."
        )
    if len(shape) == 2 and shape[1] <= 64 < 1000 <= shape[0]:
        raise UserError(
            f"The waveform has the shape {shape}, which looks like [samples, "
            "channels]; time comes last here, transpose it."
        )
    scales = {"int16": 2.0**15, "int32": 2.0**31}
    if dtype not in scales and "float" not in dtype:
        raise UserError(
            f"The waveform's samples are {dtype}; give floating point, int16 "
            "or int32."
        )
    return scales.get(dtype)


def _device(name):
    if name is None:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    # PyTorch raises AssertionError where it is built without a device.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"The device {name!r} cannot be used ({reason.rstrip('.')}); give "
            "cpu, cuda or cuda:N."
        ) from error
    return "cuda:0" if name == "cuda" else name


def _load(cls, source, options):
    # Imported here: a model that is exported already needs none of it.
    from phasen_sb.export.folder import write_export
    from phasen_sb.export.runs import is_export, is_run, read_model

    folder = Path(source).expanduser()
    if not folder.parent.exists() and HUB_NAME.fullmatch(str(source)):
        return _from_hub(cls, str(source), options)
    if is_export(folder) and not is_run(folder):
        return _from_hparams(cls, folder, options)
    model = read_model(folder)
    with tempfile.TemporaryDirectory(prefix="phasen-") as temporary:
        exported = write_export(model, Path(temporary) / folder.name)
        return _from_hparams(cls, exported, options)


def _from_hparams(cls, folder, options):
    try:
        return cls.from_hparams(
            source=str(folder),
            run_opts=options,
            local_strategy=LocalStrategy.NO_LINK,
        )
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, ImportError) as error:
        raise UserError(
            f"{folder}/hyperparams.yaml cannot be loaded: {error}; export the "
            "model again."
        ) from error


def _from_hub(cls, name, options):
    try:
        return cls.from_hparams(source=name, run_opts=options)
    # The hub's client raises many kinds of errors of its own.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error) else error
        raise UserError(
            f"There is no folder {name}, and no model of that name could be "
            f"had from the Hugging Face hub ({reason})."
        ) from error
