"""Selects the clean recordings of a corpus by their level range.

Between words one hears the noise of the room and of the microphone. The range
from the 5th to the 95th percentile of the levels of 25 ms frames shows how far
below the speech it is. Digital silence shows nothing and is left out.
"""

import os
from pathlib import Path

import numpy as np

from phasen_sb.audio.checking import inspect_audio
from phasen_sb.audio.finding import find_audio
from phasen_sb.audio.reading import open_audio
from phasen_sb.errors import UserError
from phasen_sb.utils.folders import existing_folder
from phasen_sb.utils.parallel import process_files

FRAME_SECONDS = 0.025
SILENCE = 1e-10  # energy, below the rounding of 16 bit


def measure_level_range(path: str | Path) -> float:
    """Measures the level range of a mono file (dB).

    It is the 95th minus the 5th percentile of the frames' levels, or 0 if
    there is no frame, or only digital silence.

    >>> import soundfile as sf
    >>> path = getfixture("tmp_path") / "steps.wav"
    >>> steps = np.repeat([0.5, 0.005], 16000)
    >>> sf.write(path, steps, 16000, subtype="FLOAT")
    >>> round(measure_level_range(path))
    40
    """
    with open_audio(path) as file:
        samples, rate = file.read(), file.samplerate
    size = round(FRAME_SECONDS * rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    energies = np.square(frames).mean(1)
    energies = energies[energies > SILENCE]
    if not len(energies):
        return 0.0
    low, high = np.percentile(10 * np.log10(energies), [5, 95])
    return float(high - low)


def select_clean(
    folder: str | Path,
    destination: str | Path,
    minimum: float = 42.0,
    jobs: int | None = None,
) -> dict[str, float]:
    """Links the recordings of a folder that are clean into another folder.

    Recordings lie at any depth; those with a level range of at least
    ``minimum`` (dB) are clean. ``destination`` receives a link for each,
    named by its path within ``folder`` with ``__`` for ``/``; existing links
    are kept. The level ranges (dB) of all files are returned by their names.
    ``jobs`` is the number of threads; by default one for each CPU.

    Raises a :class:`phasen_sb.errors.UserError` if there is no such folder, a
    file cannot be used, none is clean, or ``destination`` has other files of
    these names or is ``folder``.
    """
    folder = existing_folder(folder, "the folder").resolve()
    destination = Path(destination).expanduser().resolve()
    if destination == folder:
        raise UserError(f"{folder} cannot be its own selection; name another.")
    if destination.exists() and not destination.is_dir():
        raise UserError(f"{destination} is a file; name a folder.")
    paths = find_audio(folder, destination)
    for fact in process_files(inspect_audio, list(paths.values()), jobs):
        if fact.problem:
            raise UserError(f"{fact.path} {fact.problem}; fix or remove it.")
    ranges = dict(
        zip(
            paths,
            process_files(measure_level_range, list(paths.values()), jobs),
            strict=True,
        )
    )
    selected = [name for name, value in ranges.items() if value >= minimum]
    if not selected:
        raise UserError(
            f"No file of {folder} has a level range of {minimum} dB; the "
            f"highest is {max(ranges.values()):.1f} dB."
        )
    links = {
        destination / f"{name}{paths[name].suffix}": paths[name]
        for name in selected
    }
    for link, path in links.items():
        if os.path.lexists(link) and link.resolve() != path.resolve():
            raise UserError(f"{link} is another file; choose another folder.")
    try:
        destination.mkdir(parents=True, exist_ok=True)
        for link, path in links.items():
            if not os.path.lexists(link):
                link.symlink_to(path)
    except OSError as error:
        raise UserError(
            f"{destination} cannot be filled ({error.strerror}); name another "
            "folder."
        ) from error
    return ranges
