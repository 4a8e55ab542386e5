"""Clean speech and noise to train on in addition to a data set."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from phasen_sb.audio.finding import find_audio
from phasen_sb.data.splits import Splits
from phasen_sb.errors import UserError
from phasen_sb.utils.folders import check_apart, existing_folder


@dataclass(frozen=True)
class ExtraData:
    """More recordings to train on; validation and test do not change.

    Raises a :class:`phasen_sb.errors.UserError` if the range of SNRs is not
    valid.
    """

    #: Folder with mono files of clean speech.
    clean_folder: str | Path | None = None
    #: Folder with mono files of noise, used in addition to the noises of
    #: :func:`phasen_sb.data.speech_and_noise.prepare_mix`. With recorded
    #: pairs, half of these, and all of the extra speech, are mixed with one of
    #: them instead of their own noise, another one in each epoch.
    noise_folder: str | Path | None = None
    #: Range of the signal-to-noise ratios (dB) of such mixtures.
    snr_low: float = 0.0
    snr_high: float = 15.0

    def __post_init__(self):
        check_snr_range(self.snr_low, self.snr_high)


def check_snr_range(snr_low: float, snr_high: float) -> None:
    """Refuses SNRs (dB) that are not finite or in the wrong order."""
    if not (math.isfinite(snr_low) and math.isfinite(snr_high)):
        raise UserError(
            f"snr_low is {snr_low} and snr_high is {snr_high}; give numbers."
        )
    if snr_low > snr_high:
        raise UserError(
            f"snr_low is {snr_low} dB, above snr_high, {snr_high} dB; swap "
            "them."
        )


NOTHING = ExtraData()


def add_extra_data(
    splits: Splits,
    extra: ExtraData,
    roots: Sequence[Path],
    save_folder: str | Path,
) -> tuple[Path, dict, dict[str, dict]]:
    """Adds recordings to the training utterances and to the noises.

    ``splits`` grows in place: ``train`` gets the speech as pairs without
    noise, ``noise`` the noises. ``roots`` are the folders that contain all
    files so far; ``save_folder``, where results go, is skipped if it is in one
    of the extra folders. Returned are a folder that contains all files, the
    settings to record in ``data.json``, and by id the further entries of the
    manifest: the splits that use a noise.

    Raises a :class:`phasen_sb.errors.UserError` if a folder is missing or has
    no audio in it, or holds other data or links to it.
    """
    cache = Path(save_folder).expanduser().absolute()
    settings: dict = {}
    entries: dict[str, dict] = {}
    taken = [("the data's folder", root) for root in roots]
    resolved = [root.resolve() for root in roots]
    for name, given in (
        ("extra_clean_folder", extra.clean_folder),
        ("extra_noise_folder", extra.noise_folder),
    ):
        settings[name] = None
        if not given:
            continue
        folder = existing_folder(given, name)
        for other, path in taken:
            check_apart(folder, name, path, other)
        taken.append((name, folder))
        settings[name] = str(folder)
        found = find_audio(folder, cache)
        for path in found.values():
            if any(root in path.resolve().parents for root in resolved):
                raise UserError(
                    f"{path} in {name} is a link to the data itself, of which "
                    "validation and test are not for training; remove it."
                )
        if name == "extra_clean_folder":
            train = splits.setdefault("train", {})
            keys = list(next(iter(train.values()), ["noisy_wav", "clean_wav"]))
            for key, path in found.items():
                train[f"extra/{key}"] = dict.fromkeys(keys, path)
        else:
            # The prefix keeps the names apart from those of other files.
            noise = {
                f"noise/extra/{key}": {"noise_wav": path}
                for key, path in found.items()
            }
            splits.setdefault("noise", {}).update(noise)
            entries = {key: {"splits": ["train"]} for key in noise}
            settings["snr_low"] = float(extra.snr_low)
            settings["snr_high"] = float(extra.snr_high)
    root = Path(os.path.commonpath([path for _, path in taken]))
    return root, settings, entries
