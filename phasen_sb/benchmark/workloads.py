"""Workloads: what is measured, and how, each in a process of its own."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from torch import nn

from phasen_sb.archives.jobs import enhance_files
from phasen_sb.benchmark.loading import measure_loading
from phasen_sb.configuration.recipe import Recipe
from phasen_sb.errors import UserError
from phasen_sb.inference.speechbrain_enhancer import Enhancer
from phasen_sb.losses.compressed_complex import compressed_complex_loss
from phasen_sb.losses.objective import Objective
from phasen_sb.models.description import read_description
from phasen_sb.optimized import optimize
from phasen_sb.signals.conv_stft import ConvSTFT
from phasen_sb.signals.level import measure_level
from phasen_sb.training.compilation import compile_network
from phasen_sb.utils.file_names import DESCRIPTION
from phasen_sb.utils.hardware import PRECISIONS, choose_hardware

SAMPLE_RATE = 16000
#: A measurement is repeated until it has taken this long (s) ...
ENOUGH = 3.0
#: ... on a GPU, whose times vary less, this long ...
ENOUGH_ON_GPU = 1.0
#: ... but not more often than this.
REPEATS = 20


class Workload(NamedTuple):
    """One line of the benchmark."""

    #: ``enhance`` (a whole waveform), ``enhance in chunks`` (a file, as
    #: ``phasen enhance`` does it), ``enhance a folder`` (of ``batch`` files),
    #: ``train`` (a step, forward to update) or ``load`` (training data)
    task: str
    #: ``plain`` modules, ``optimized``, ``compiled`` (in training), ``other``
    #: (the model of a file that the user gives), or ``1 worker`` that loads
    engine: str
    precision: str  #: ``fp32`` or ``bf16``; ``-`` in loading
    threads: int  #: of PyTorch
    seconds: float  #: of audio, in training of each utterance of a batch
    batch: int = 1  #: waveforms at once
    device: str = "cpu"  #: or ``cuda``, where the threads do not matter
    neighbours: int = 0  #: processes that keep a core busy meanwhile


class Measurement(NamedTuple):
    """What was measured."""

    time: float  #: the best one (s), beside busy neighbours the median
    #: Peak memory (MB) above that of the loaded model, on a GPU all that
    #: PyTorch allocates; None where the system does not report it.
    memory: float | None


def load_other(path: Path) -> nn.Module:
    """Loads somebody else's model to measure beside ours.

    The Python file must define ``load()``, which returns a module that maps
    ``[batch, samples]`` to a tensor or a tuple of tensors. Raises UserError if
    there is no such file or function.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; --other takes a Python file.")
    spec = spec_from_file_location("other_model", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "load"):
        raise UserError(
            f"{path} defines no load(); it must return a module that maps "
            "waveforms [batch, samples]."
        )
    return module.load()


def try_other(
    file: str, shapes: Sequence[tuple[int, float]], device: str = "cpu"
) -> None:
    """Calls somebody else's model once, before anything is measured.

    Arguments
    ---------
    file : str
        Python file, see :func:`load_other`.
    shapes : sequence of tuple
        Numbers of waveforms, and their lengths (s).
    device : str
        ``cpu`` or ``cuda``.

    Raises
    ------
    UserError
        If it fails, in one sentence.
    """
    try:
        model = load_other(Path(file)).to(device)
        for batch, seconds in shapes:
            noisy = 0.1 * torch.randn(batch, round(seconds * SAMPLE_RATE))
            with torch.no_grad():
                model(noisy.to(device))
    except UserError:
        raise
    except Exception as error:  # their code may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"The model of {file} cannot be measured ({reason[:300]}); it must "
            "map waveforms [batch, samples]."
        ) from None


def build(hparams: str, engine: str, other: str | None) -> nn.Module:
    """Builds the model of a workload, untrained, as weights do not matter.

    It is the enhancer of the recipe ``hparams`` or, for the engine ``other``,
    the model of :func:`load_other`.
    """
    torch.manual_seed(0)
    if engine == "other":
        return load_other(Path(other))
    with tempfile.TemporaryDirectory() as folder:
        Recipe.read(hparams, f"{{output_folder: {folder}}}").write(folder)
        description = read_description(Path(folder, DESCRIPTION), trust=True)
        return description.build(hparams)


def measure(
    workload: Workload, hparams: str, other: str | None = None
) -> Measurement:
    """Measures a workload in this process, with the model of :func:`build`."""
    if workload.task == "load":
        placed = workload.engine == "corpus on device"
        time = measure_loading(
            workload.batch,
            workload.seconds,
            workload.device if placed else None,
        )
        return Measurement(time, None)
    torch.set_num_threads(workload.threads)
    device = workload.device
    model = build(hparams, workload.engine, other).to(device)
    noisy = torch.randn(
        workload.batch,
        round(workload.seconds * SAMPLE_RATE),
        generator=torch.Generator().manual_seed(1),
    )
    noisy = 0.1 * noisy.to(device)
    if workload.task == "train":
        step = _training_step(model.train(), noisy, workload)
        step()  # compiles, and allocates what Adam keeps
        return _time(step, device)
    model.eval()
    if workload.engine == "optimized" and workload.task == "enhance":
        # Replaces the plain modules, whose memory must not count.
        model = optimize(model, workload.precision)
    if workload.task == "enhance":
        return _time(_whole(model, noisy, workload), device)
    task = _chunked if workload.task == "enhance in chunks" else _folder
    with (
        tempfile.TemporaryDirectory() as folder,
        keep_busy(workload.neighbours),
    ):
        work = task(model, noisy, workload, Path(folder))
        return _time(work, device, median if workload.neighbours else min)


@contextmanager
def keep_busy(processes: int) -> Iterator[list[subprocess.Popen]]:
    """Runs so many processes beside, each of which keeps a core busy.

    Example
    -------
    >>> with keep_busy(1) as neighbours:
    ...     len(neighbours)
    1
    """
    # It ends with this process, however that ends.
    code = "import os; me = os.getppid()\nwhile os.getppid() == me: pass"
    neighbours = [
        subprocess.Popen([sys.executable, "-S", "-c", code])
        for _ in range(processes)
    ]
    try:
        yield neighbours
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def _autocast(workload):
    return torch.autocast(
        workload.device, torch.bfloat16, enabled=workload.precision == "bf16"
    )


def _whole(model, noisy, workload):
    def enhance():
        with torch.inference_mode(), _autocast(workload):
            model(noisy)

    return enhance


def _chunked(model, noisy, workload, folder):
    ((source, target),) = _write(noisy, folder)
    enhancer = _make_enhancer(model, workload)
    return lambda: enhancer.enhance_file(source, target, overwrite=True)


def _folder(model, noisy, workload, folder):
    pairs = _write(noisy, folder)
    enhancer = _make_enhancer(model, workload)

    def enhance():
        report = enhance_files(enhancer, pairs, overwrite=True, progress=False)
        if report.failed:
            raise RuntimeError(next(iter(report.failed.values())))

    return enhance


def _write(noisy, folder):
    """Writes files; returns them, each with one for what becomes of it."""
    pairs = []
    for number, wave in enumerate(noisy.cpu().numpy()):
        source = folder / f"{number}.wav"
        soundfile.write(source, wave, SAMPLE_RATE)
        pairs.append((source, source.with_suffix(".enhanced.wav")))
    return pairs


def _make_enhancer(model, workload):
    return Enhancer(
        {"enhance_model": model},
        {"sample_rate": SAMPLE_RATE},
        run_opts=choose_hardware(workload.device, workload.precision),
    )


def _training_step(model, noisy, workload):
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    if workload.engine == "compiled":
        budget = 0.5 if workload.device == "cpu" else 1.0
        compile_network(model.network, activation_memory_budget=budget)
    clean = 0.5 * noisy
    gain = measure_level(noisy)

    def loss():
        if workload.engine == "other":
            # Their loss is unknown; any that depends on all outputs serves.
            outputs = model(noisy)
            if torch.is_tensor(outputs):
                outputs = [outputs]
            return sum(out.float().square().mean() for out in outputs)
        wave, spectrogram = model(noisy / gain)
        return objective(wave, spectrogram, clean / gain, None, stft)[0]

    objective = Objective.wrap(compressed_complex_loss)
    stft = getattr(model, "stft", None)
    stft = (stft or ConvSTFT(SAMPLE_RATE)).to(workload.device)

    def step():
        with _autocast(workload):
            value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def _time(
    work: Callable[[], None],
    device: str = "cpu",
    choose: Callable[[Sequence[float]], float] = min,
) -> Measurement:
    """Times calls after a first one, which warms up and shows the memory."""
    if device == "cuda":
        return _time_on_gpu(work)
    loaded = _reset_peak()
    work()
    memory = None
    if loaded is not None:  # pages given back may make it a little less
        memory = max(0.0, _status("VmHWM") - loaded)
    times = []
    while sum(times) < ENOUGH and len(times) < REPEATS:
        started = perf_counter()
        work()
        times.append(perf_counter() - started)
    return Measurement(choose(times), memory)


def _time_on_gpu(work):
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    times = []
    while sum(times) < ENOUGH_ON_GPU and len(times) < REPEATS:
        started = perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(perf_counter() - started)
    return Measurement(min(times), torch.cuda.max_memory_allocated() / 2**20)


def _reset_peak():
    """Resets the peak to the memory in use (Linux); returns that in MB."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return None


def _status(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(field)


def machine_peak(precision: str, threads: int, device: str = "cpu") -> float:
    """Measures the machine's FLOP/s in a product of large matrices."""
    torch.set_num_threads(threads)
    size = 8192 if device == "cuda" else 2048
    matrix = torch.from_numpy(
        np.random.default_rng(0).standard_normal((size, size), np.float32)
    ).to(device, PRECISIONS[precision])
    return 2 * size**3 / _time(lambda: matrix @ matrix, device).time
