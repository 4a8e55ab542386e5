"""Prepares data of any source, as the folders in a YAML choose."""

from collections.abc import Sequence
from pathlib import Path

from phasen_sb.data.extra_data import ExtraData
from phasen_sb.data.pairs import prepare_pairs
from phasen_sb.data.sample_corpus import sample_corpus
from phasen_sb.data.shard_preparation import prepare_shards
from phasen_sb.data.shards import is_shards
from phasen_sb.data.speech_and_noise import prepare_mix
from phasen_sb.data.voicebank import prepare_voicebank
from phasen_sb.errors import UserError


def prepare_data(
    save_folder: str | Path,
    sample_rate: int = 16000,
    data_folder: str | Path | None = None,
    noisy_folder: str | Path | None = None,
    clean_folder: str | Path | None = None,
    noise_folder: str | Path | None = None,
    valid_speakers: Sequence[str] = ("p226", "p287"),
    valid_fraction: float = 0.1,
    test_fraction: float = 0.1,
    group_regex: str | None = None,
    snr_low: float = 0.0,
    snr_high: float = 15.0,
    extra_clean_folder: str | Path | None = None,
    extra_noise_folder: str | Path | None = None,
    jobs: int | None = None,
) -> dict:
    """Prepares the data that the given folders hold.

    ========================================  ==========================
    given                                     data
    ========================================  ==========================
    nothing                                   the sample corpus
    ``data_folder``                           VoiceBank-DEMAND
    ``noisy_folder`` and ``clean_folder``     recorded pairs
    ``clean_folder`` and ``noise_folder``     mixed while training
    ========================================  ==========================

    ``data_folder``, or ``clean_folder`` and ``noise_folder``, may be names of
    shards, such as ``speech-{000000..000127}.tar``, also on a server; their
    splits were made when they were packed.

    See :func:`phasen_sb.data.voicebank.prepare_voicebank`,
    :func:`phasen_sb.data.pairs.prepare_pairs`,
    :func:`phasen_sb.data.speech_and_noise.prepare_mix` and
    :func:`phasen_sb.data.shard_preparation.prepare_shards`.

    Arguments
    ---------
    save_folder : str or pathlib.Path
        Receives the manifests, ``data.json`` and resampled copies.
    sample_rate : int
        The rate the network works at (Hz).
    data_folder : str or pathlib.Path, optional
        VoiceBank-DEMAND or a folder laid out like it.
    noisy_folder, clean_folder, noise_folder : str or pathlib.Path, optional
        One's own data; see the table.
    valid_speakers : sequence of str
        Speakers of ``data_folder`` to validate on.
    valid_fraction, test_fraction : float
        Shares of one's own data to validate and to test on.
    group_regex : str, optional
        Which of one's own files to keep in one split.
    snr_low, snr_high : float
        Range of the SNRs (dB) when mixing, with extra noise, too.
    extra_clean_folder, extra_noise_folder : str or pathlib.Path, optional
        More clean speech and noise to train on, whatever the data; see
        :class:`phasen_sb.data.extra_data.ExtraData`. Without extra noise, the
        extra speech gets noise from the augmentation or from ``noise_folder``.
    jobs : int, optional
        Number of parallel workers; default one for each CPU.

    Returns
    -------
    dict
        The record, as in ``data.json``.

    Raises
    ------
    UserError
        If the given folders are none of the above, or as those functions do.

    Example
    -------
    >>> record = prepare_data(getfixture("tmp_path"))
    >>> record["source"], record["splits"]["train"]["files"]
    ('voicebank', 20)
    """
    folders = {
        "data_folder": data_folder,
        "noisy_folder": noisy_folder,
        "clean_folder": clean_folder,
        "noise_folder": noise_folder,
    }
    given = [name for name, folder in folders.items() if folder]
    extra = ExtraData(extra_clean_folder, extra_noise_folder, snr_low, snr_high)
    more = {"extra": extra, "jobs": jobs}
    own = {
        "valid_fraction": valid_fraction,
        "test_fraction": test_fraction,
        "group_regex": group_regex,
    }
    if packed := [name for name in given if is_shards(folders[name])]:
        return _prepare_packed(
            folders, given, packed, extra, save_folder, sample_rate, jobs
        )
    if not given:
        given, data_folder = ["data_folder"], sample_corpus()
    if given == ["data_folder"]:
        return prepare_voicebank(
            data_folder, save_folder, sample_rate, valid_speakers, **more
        )
    if given == ["noisy_folder", "clean_folder"]:
        return prepare_pairs(
            noisy_folder,
            clean_folder,
            save_folder,
            sample_rate,
            **own,
            **more,
        )
    if given == ["clean_folder", "noise_folder"]:
        return prepare_mix(
            clean_folder,
            noise_folder,
            save_folder,
            sample_rate,
            snr_low,
            snr_high,
            **own,
            **more,
        )
    wrong = " and ".join(given)
    wrong += " do not go together" if given[1:] else " is not enough"
    raise UserError(
        f"{wrong}; give data_folder alone, or "
        "noisy_folder with clean_folder, or clean_folder with noise_folder, "
        "or none of them for the sample corpus."
    )


def _prepare_packed(
    folders, given, packed, extra, save_folder, sample_rate, jobs
):
    kinds = {
        ("data_folder",): {"pairs": folders["data_folder"]},
        ("clean_folder", "noise_folder"): {
            "speech": folders["clean_folder"],
            "noise": folders["noise_folder"],
        },
    }
    if given != packed or tuple(given) not in kinds:
        raise UserError(
            f"{' and '.join(packed)} {'are' if packed[1:] else 'is'} shards; "
            "give shards of pairs as data_folder alone, or clean_folder and "
            "noise_folder, both of shards."
        )
    if extra.clean_folder or extra.noise_folder:
        raise UserError(
            "extra_clean_folder and extra_noise_folder do not go with shards; "
            "pack these recordings, too."
        )
    snrs = extra.snr_low, extra.snr_high
    return prepare_shards(
        kinds[tuple(given)], save_folder, sample_rate, *snrs, jobs
    )
