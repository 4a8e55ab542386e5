"""One's own recordings: noisy files and their clean partners."""

from pathlib import Path

from phasen_sb.audio.finding import find_audio
from phasen_sb.data.extra_data import NOTHING, ExtraData, add_extra_data
from phasen_sb.data.manifest import write_manifests
from phasen_sb.data.splits import split_items
from phasen_sb.utils.folders import check_apart, existing_folder


def prepare_pairs(
    noisy_folder: str | Path,
    clean_folder: str | Path,
    save_folder: str | Path,
    sample_rate: int = 16000,
    valid_fraction: float = 0.1,
    test_fraction: float = 0.1,
    group_regex: str | None = None,
    extra: ExtraData = NOTHING,
    jobs: int | None = None,
) -> dict:
    """Checks pairs of noisy and clean files and writes their manifests.

    A noisy and a clean file are a pair if their paths within their folders are
    equal but for the suffix. The split of a pair depends on its name alone, so
    that it does not change when files are added.

    The folders have mono files, at any depth, of any format libsndfile reads,
    at any rate. ``save_folder`` receives ``train.json``, ``valid.json``,
    ``test.json``, ``data.json`` and the copies that were resampled to
    ``sample_rate``, the rate the network works at (Hz). The record, as in
    ``data.json``, is returned: counts, checksums, resampler.

    The fractions are the shares of the pairs to validate and to test on; each
    split has at least one pair. Pairs stay in one split if ``group_regex``
    matches the same text in their names (its first group, if it has one):
    ``"^(p[0-9]+)_"`` never puts a VCTK speaker into two splits. A name is the
    path within the folder, with ``__`` for ``/``. ``jobs`` is the number of
    parallel workers; by default one for each CPU.

    Raises a :class:`phasen_sb.errors.UserError` if a folder is missing, there
    are fewer than three groups, or any file is unpaired or cannot be used; all
    bad files are named at once.
    """
    noisy_root = existing_folder(noisy_folder, "noisy_folder")
    clean_root = existing_folder(clean_folder, "clean_folder")
    check_apart(noisy_root, "noisy_folder", clean_root, "clean_folder")
    cache = Path(save_folder).expanduser().absolute()
    problems: list[tuple[Path, str]] = []
    pairs = match_pairs(
        find_audio(noisy_root, cache),
        find_audio(clean_root, cache),
        noisy_root,
        clean_root,
        problems,
    )
    # Unpaired files are reported before anything is split.
    splits = (
        {"train": pairs}
        if problems
        else split_items(pairs, valid_fraction, test_fraction, group_regex)
    )
    root, added, entries = add_extra_data(
        splits, extra, [noisy_root, clean_root], cache
    )
    return write_manifests(
        splits,
        root,
        save_folder,
        sample_rate,
        {
            "source": "pairs",
            "noisy_folder": str(noisy_root),
            "clean_folder": str(clean_root),
            "valid_fraction": valid_fraction,
            "test_fraction": test_fraction,
            "group_regex": group_regex,
            **added,
        },
        problems,
        extra=entries,
        jobs=jobs,
    )


def match_pairs(
    noisy: dict[str, Path],
    clean: dict[str, Path],
    noisy_folder: Path,
    clean_folder: Path,
    problems: list[tuple[Path, str]],
) -> dict[str, dict[str, Path]]:
    """Pairs noisy and clean files of the same name.

    ``problems`` receives the files that have no partner; the folders, where
    the files were found, are for its messages. Returned are the pairs by name,
    as ``{"noisy_wav": file, "clean_wav": file}``.
    """
    problems += [
        (path, f"has no partner of that name in {clean_folder}")
        for name, path in noisy.items()
        if name not in clean
    ]
    problems += [
        (path, f"has no partner of that name in {noisy_folder}")
        for name, path in clean.items()
        if name not in noisy
    ]
    return {
        name: {"noisy_wav": path, "clean_wav": clean[name]}
        for name, path in noisy.items()
        if name in clean
    }
