"""Reads noisy, enhanced and clean versions of a run's test utterances."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from phasen_sb.audio.finding import find_audio
from phasen_sb.data.datasets import make_datasets
from phasen_sb.data.manifest import read_record
from phasen_sb.errors import UserError
from phasen_sb.scoring.audio import SAMPLE_RATE, read_mono
from phasen_sb.utils.file_names import CHECKPOINTS


@dataclass(frozen=True)
class Recording:
    """One utterance in three versions of equal length, each ``[time]``."""

    noisy: np.ndarray
    enhanced: np.ndarray
    clean: np.ndarray
    sample_rate: int  # Hz


def _cut_to_recording(noisy, enhanced, clean, sample_rate: int) -> Recording:
    length = min(map(len, (noisy, enhanced, clean)))
    return Recording(
        noisy[:length], enhanced[:length], clean[:length], sample_rate
    )


class RunAudio:
    """The test utterances of a training run.

    ``folder`` is where ``results.json`` is: the output folder of the run, or
    ``debug`` in it.
    """

    def __init__(self, folder: Path):
        self.enhanced = folder / "enhanced"
        in_run = (folder / CHECKPOINTS).is_dir()
        self.save_folder = (folder if in_run else folder.parent) / CHECKPOINTS

    def load(self, name: str) -> Recording:
        """Reads one utterance by its id.

        Raises a :class:`phasen_sb.errors.UserError` if one of its files does
        not exist any more, or the run works at another rate than the page.
        """
        path = self.enhanced / f"{name}.wav"
        # The names are those of a table that a stranger may have written.
        if self.enhanced.resolve() not in path.resolve().parents:
            raise UserError(
                f"{name} cannot be listened to: {path} is not in "
                f"{self.enhanced}; choose other files with --listen."
            )
        rate = read_record(self.save_folder)["sample_rate"]
        test = make_datasets(self.save_folder, rate)["test"]
        try:
            item = test[test.data_ids.index(name)]
        except (ValueError, OSError, RuntimeError) as error:
            raise UserError(
                f"{name} cannot be listened to: the data that the run was "
                f"tested on are gone ({error}); put them back, or choose "
                "other files with --listen."
            ) from error
        if rate != SAMPLE_RATE:
            raise UserError(
                f"{name} cannot be listened to: its run works at {rate} Hz, "
                f"and the page plays {SAMPLE_RATE} Hz; choose files of "
                "another run with --listen."
            )
        clean, noisy = item["clean_sig"].numpy(), item["noisy_sig"].numpy()
        return _cut_to_recording(noisy, _read(path), clean, rate)


class FolderAudio:
    """Files of equal names in three folders."""

    def __init__(self, noisy: Path, enhanced: Path, clean: Path):
        self.folders = (noisy, enhanced, clean)

    def load(self, name: str) -> Recording:
        """Reads the files of a name, see :meth:`RunAudio.load`."""
        versions = []
        for folder in self.folders:
            found = find_audio(folder) if folder.is_dir() else {}
            if name not in found:
                raise UserError(
                    f"{name} cannot be listened to: {folder} has no file of "
                    "that name; put it back, or choose other files with "
                    "--listen."
                )
            versions.append(read_mono(found[name]))
        return _cut_to_recording(*versions, SAMPLE_RATE)


def _read(path: Path) -> np.ndarray:
    if not path.is_file():
        raise UserError(
            f"{path.stem} cannot be listened to: {path} does not exist; put "
            "it back, or choose other files with --listen."
        )
    return read_mono(path)
