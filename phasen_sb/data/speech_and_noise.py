"""Prepares folders of clean speech and of noise, mixed while training."""

from pathlib import Path

from speechbrain.utils.logger import get_logger

from phasen_sb.audio.finding import find_audio
from phasen_sb.data.extra_data import (
    NOTHING,
    ExtraData,
    add_extra_data,
    check_snr_range,
)
from phasen_sb.data.manifest import write_manifests
from phasen_sb.data.splits import split_items
from phasen_sb.utils.folders import check_apart, existing_folder

logger = get_logger(__name__)

SPLITS = ("train", "valid", "test")


def prepare_mix(
    clean_folder: str | Path,
    noise_folder: str | Path,
    save_folder: str | Path,
    sample_rate: int = 16000,
    snr_low: float = 0.0,
    snr_high: float = 15.0,
    valid_fraction: float = 0.1,
    test_fraction: float = 0.1,
    group_regex: str | None = None,
    extra: ExtraData = NOTHING,
    jobs: int | None = None,
) -> dict:
    """Checks clean speech and noise and writes their manifests.

    :func:`phasen_sb.data.datasets.make_datasets` mixes them on the fly:
    training utterances get another noise, another part of it and another SNR
    in each epoch, those of validation and test always the same. SNRs are drawn
    uniformly from ``snr_low`` to ``snr_high`` (dB), for extra recordings, too.
    Noise files are split like the speech, so that validation and test use
    noise that training does not; with two files validation and test share one,
    with a single file all do.

    The other arguments, results and errors are as for
    :func:`phasen_sb.data.pairs.prepare_pairs`, except that ``noise.json`` is
    written as well, and ``group_regex`` is for speech files.
    """
    check_snr_range(snr_low, snr_high)
    clean_root = existing_folder(clean_folder, "clean_folder")
    noise_root = existing_folder(noise_folder, "noise_folder")
    check_apart(clean_root, "clean_folder", noise_root, "noise_folder")
    cache = Path(save_folder).expanduser().absolute()
    clean = {
        name: {"clean_wav": path}
        for name, path in find_audio(clean_root, cache).items()
    }
    noise = {
        # The prefix keeps the names of noises and of speech apart.
        f"noise/{name}": {"noise_wav": path}
        for name, path in find_audio(noise_root, cache).items()
    }
    splits = split_items(clean, valid_fraction, test_fraction, group_regex)
    used_in = _share_noise(noise, valid_fraction, test_fraction)
    splits["noise"] = noise
    root, added, entries = add_extra_data(
        splits, extra, [clean_root, noise_root], cache
    )
    return write_manifests(
        splits,
        root,
        save_folder,
        sample_rate,
        {
            **added,
            "source": "mix",
            "clean_folder": str(clean_root),
            "noise_folder": str(noise_root),
            "snr_low": float(snr_low),
            "snr_high": float(snr_high),
            "valid_fraction": valid_fraction,
            "test_fraction": test_fraction,
            "group_regex": group_regex,
        },
        extra={**{n: {"splits": used_in[n]} for n in used_in}, **entries},
        jobs=jobs,
    )


def _share_noise(
    noise: dict[str, dict[str, Path]],
    valid_fraction: float,
    test_fraction: float,
) -> dict[str, list[str]]:
    """Decides which splits use each noise."""
    if len(noise) >= 3:
        divided = split_items(noise, valid_fraction, test_fraction)
        return {name: [split] for split in divided for name in divided[split]}
    if len(noise) == 2:
        first, second = noise
        return {first: ["train"], second: ["valid", "test"]}
    (only,) = noise
    logger.warning(
        "There is one noise file, so the network is tested on the noise it "
        "was trained on; two or more would be kept apart."
    )
    return {only: list(SPLITS)}
