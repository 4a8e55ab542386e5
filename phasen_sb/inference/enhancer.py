"""Clean speech from waveforms and files, of any length and rate.

``phasen enhance`` uses the class here. The public
:class:`phasen_sb.Enhancer` is also a class of SpeechBrain, which takes longer
to import than a short file takes to enhance.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import numpy as np
from torch import nn

from phasen_sb.audio.reading import check_whole, open_audio, read_samples
from phasen_sb.errors import UserError
from phasen_sb.inference.arrays import Wave, from_signal, to_signal
from phasen_sb.inference.attenuation import apply_limit, write_removed
from phasen_sb.inference.causal_recording import (
    CausalRecordingEnhancer,
    is_causal,
)
from phasen_sb.inference.chunk_plan import ChunkPlan
from phasen_sb.inference.output_files import OutputFiles, write_scaled
from phasen_sb.inference.output_paths import (
    check_output,
    format_by_suffix,
    name_output,
    name_residual,
)
from phasen_sb.inference.recording import RecordingEnhancer
from phasen_sb.inference.recording_statistics import measure_recording
from phasen_sb.inference.reports import EnhancedFile, PeakMeter
from phasen_sb.inference.sample_reader import SampleReader
from phasen_sb.models.loading import read_model
from phasen_sb.utils.hardware import choose_devices

#: Files at a time, for each device that enhances batches: while some wait for
#: it, others are read and written. A causal model has no batches.
FILES_OF_DEVICE = 32

Kind = TypeVar("Kind", bound="FileEnhancer")


class FileEnhancer:
    """Removes noise from the speech in waveforms and audio files.

    Of any sample rate, any number of channels (each enhanced by itself) and
    any length, in constant memory; rate, channels, level and length are kept.
    :meth:`from_pretrained` loads one.

    Arguments
    ---------
    model : torch.nn.Module
        Maps waveforms ``[B, samples]`` to a tuple that begins with the
        enhanced ones. It is on the first device, in evaluation mode.
    sample_rate : int
        The model's (Hz).
    devices : sequence of str
        Such as ``cpu``; several share the work.
    precision : str
        ``fp32`` or ``bf16``.

    Example
    -------
    >>> from phasen_sb import PHASEN, ConvISTFT, ConvSTFT, PhasenEnhancer
    >>> network = PHASEN(recurrent_units=8, dense_units=8)
    >>> model = PhasenEnhancer(ConvSTFT(16000), ConvISTFT(16000), network)
    >>> enhancer = FileEnhancer(model.eval(), 16000)
    >>> enhancer.enhance(np.random.randn(2, 1234), 44100).shape
    (2, 1234)
    """

    #: Where the model comes from.
    source = "untitled model"
    plan = ChunkPlan()

    def __init__(
        self,
        model: nn.Module,
        sample_rate: int,
        devices: Sequence[str] = ("cpu",),
        precision: str = "fp32",
    ):
        self._is_causal = is_causal(model)
        kind = RecordingEnhancer
        if self._is_causal:
            kind = CausalRecordingEnhancer
        self._recordings = kind(model, sample_rate, devices, precision)

    @property
    def sample_rate(self) -> int:
        """The model's sample rate (Hz)."""
        return self._recordings.sample_rate

    @classmethod
    def _of_model(cls, model, sample_rate, devices, precision):
        return cls(model.to(devices[0]), sample_rate, devices, precision)

    @property
    def files_at_a_time(self) -> int:
        """How many files are best enhanced at a time: on GPUs, batches."""
        count = len(self._recordings.devices)
        return count * (FILES_OF_DEVICE if self._recordings.has_batches else 1)

    @classmethod
    def from_pretrained(
        cls: type[Kind],
        source: str | os.PathLike | None = None,
        device: str | None = None,
        precision: str = "auto",
        chunk_seconds: int = ChunkPlan.step,
        trust: bool = False,
    ) -> Kind:
        """Loads a model.

        Arguments
        ---------
        source : str or path, optional
            A folder that ``phasen export`` wrote, the output folder of a
            training run, the name of a model that ships with the package, or
            one on the Hugging Face hub; by default the shipped ``default``.
        device : str, optional
            ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or several, such as
            ``cuda:0,cuda:1``; by default CUDA if there is any.
        precision : str
            ``fp32``, ``bf16``, or ``auto``: bf16 where hardware computes it,
            but for a causal model fp32.
        chunk_seconds : int
            Longer recordings are enhanced in chunks of this length.
        trust : bool
            Build whatever the model names, which may run any code of its
            maker's; by default only layers that ``SECURITY.md`` lists.

        Returns
        -------
        FileEnhancer
            Or the subclass that it is called on.

        Raises
        ------
        UserError
            If there is no such model, it is damaged or refused, or there
            is no such device.

        Example
        -------
        >>> enhancer = FileEnhancer.from_pretrained(device="cpu")
        >>> enhancer.enhance(np.random.randn(16000), sample_rate=16000).shape
        (16000,)
        """
        devices, chosen = choose_devices(device, precision)
        if chunk_seconds < 1:
            raise UserError(
                f"chunk_seconds is {chunk_seconds}; it must be at least 1."
            )
        model = read_model(source, trust)
        built = model.build()
        if precision == "auto" and is_causal(built):  # as live speech
            chosen = "fp32"
        enhancer = cls._of_model(
            built, model.description.sample_rate, devices, chosen
        )
        enhancer.source = model.source if source is None else str(source)
        enhancer.plan = ChunkPlan(int(chunk_seconds))
        return enhancer

    def enhance(
        self,
        wave: Wave,
        sample_rate: int,
        strength: float = 1.0,
        limit: float | None = None,
    ) -> Wave:
        """Enhances a waveform.

        Arguments
        ---------
        wave : np.ndarray or torch.Tensor
            ``[samples]`` or ``[..., samples]``: time comes last, all other
            axes are channels, each enhanced by itself. Floating point, or
            int16 or int32 with their own full scale.
        sample_rate : int
            Its sample rate (Hz).
        strength : float
            0 returns the input, 1 the enhanced signal, values between mix
            the two.
        limit : float, optional
            The most that is attenuated (dB): so much of the input is mixed
            back that nothing comes out further below it. Of ``strength`` and
            ``limit`` the one that keeps more of the input applies.

        Returns
        -------
        np.ndarray or torch.Tensor
            As ``wave``: same type, shape, dtype and device. NaN and infinity
            come back as zero, with a warning.

        Raises
        ------
        UserError
            If the shape, dtype, rate, strength or limit is not possible.
        """
        strength = apply_limit(strength, limit)
        if not sample_rate >= 1 or sample_rate != int(sample_rate):
            raise UserError(
                f"The sample rate is {sample_rate}; it must be a positive "
                "whole number (Hz)."
            )
        rate = int(sample_rate)
        signal = to_signal(wave)
        position = 0

        def read(count):
            nonlocal position
            position += count
            return signal[position - count : position]

        statistics = None
        if not self._is_causal:
            statistics = measure_recording(
                [signal], signal.shape[1], rate, self.sample_rate
            )
        reader = SampleReader(read)
        parts = list(
            self._recordings.enhance(
                reader, rate, strength, self.plan, statistics
            )
        )
        if reader.non_finite:
            warnings.warn(
                f"{reader.non_finite} samples were NaN or infinite and "
                "became zero.",
                stacklevel=2,
            )
        return from_signal(np.concatenate(parts), wave)

    def enhance_file(
        self,
        filename: str | os.PathLike,
        output_filename: str | os.PathLike | None = None,
        strength: float = 1.0,
        format: str | None = None,
        normalize: bool = False,
        overwrite: bool = False,
        progress: Callable[[float], None] | None = None,
        limit: float | None = None,
        residual: bool = False,
    ) -> EnhancedFile:
        """Enhances a file, streaming from and to the disk.

        Arguments
        ---------
        filename : path
            Any file that libsndfile reads; with the extra ``media`` also
            videos, whose pictures are copied, and M4A, WMA, AMR.
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
            Replace an output that exists.
        progress : callable, optional
            Called with the seconds done since the last call. An exception
            that it raises ends the work and leaves nothing behind.
        limit : float, optional
            The most that is attenuated (dB), as in :meth:`enhance`.
        residual : bool
            Also write what was removed, input minus output at the input's
            level, beside the output as ``NAME.residual.wav``.

        Returns
        -------
        EnhancedFile

        Raises
        ------
        UserError
            If the input cannot be read, or the output not be written.
        """
        strength = apply_limit(strength, limit)
        started = perf_counter()
        source = Path(filename)
        if output_filename is None:
            target = name_output(source, format)
        else:
            target = Path(output_filename)
            if format is None:
                format = format_by_suffix(source, target)
        check_output(source, target, overwrite)
        removed = name_residual(target) if residual else None
        if removed is not None:
            check_output(source, removed, overwrite)
        with open_audio(source) as file:
            rate = file.samplerate
            outputs = OutputFiles(file)
            chosen = outputs.choose_format(target, format)
            remarks = outputs.list_remarks(target, chosen)
            statistics, samples = self._recordings.survey(file)
        meter = PeakMeter()
        gain = 1.0
        tracks = []

        def open_writer(path, audio_format):
            return outputs.open_writer(path, audio_format, samples)

        def write(path, audio_format, blocks):
            with open_writer(path, audio_format) as writer:
                for block in blocks:
                    writer.write(block)
            tracks.extend(writer.notes)

        with ExitStack() as stack:
            file = stack.enter_context(open_audio(source))
            reader = SampleReader(lambda count: read_samples(file, count))

            def enhanced():
                for part in self._recordings.enhance(
                    reader, rate, strength, self.plan, statistics
                ):
                    meter.add(part)
                    yield part
                    if progress is not None:
                        progress(len(part) / rate)
                check_whole(file, reader.samples)

            parts = enhanced()
            if removed is not None:
                wav = outputs.choose_format(removed, "wav")
                writer = stack.enter_context(open_writer(removed, wav))
                noisy = stack.enter_context(open_audio(source))
                parts = write_removed(noisy, writer, parts)
            if normalize and chosen.limited:
                gain = write_scaled(write, target, chosen, parts, meter)
            else:
                write(target, chosen, parts)
        return EnhancedFile(
            source,
            target,
            seconds=reader.samples / rate,
            elapsed=perf_counter() - started,
            non_finite=reader.non_finite,
            over=meter.over if chosen.limited and gain == 1.0 else 0,
            peak=meter.peak,
            gain=gain,
            infrasound=strength > 0
            and statistics is not None
            and bool(statistics.levels.infrasound.any()),
            residual=removed,
            tracks=tuple(tracks),
            remarks=tuple(remarks),
        )


def __getattr__(name):
    """Finds ``Enhancer`` in the module where it once was."""
    if name == "Enhancer":
        from phasen_sb.inference.speechbrain_enhancer import Enhancer

        return Enhancer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
