"""Packs folders of recordings into shards."""

from pathlib import Path

from phasen_sb.audio.finding import find_audio
from phasen_sb.data.bad_files import raise_bad_files
from phasen_sb.data.pairs import match_pairs
from phasen_sb.data.shard_writing import write_shards
from phasen_sb.data.splits import split_items
from phasen_sb.errors import UserError
from phasen_sb.utils.folders import (
    check_apart,
    existing_folder,
    make_writable_folder,
)


def shard_folders(
    destination: str | Path,
    noisy: str | Path | None = None,
    clean: str | Path | None = None,
    noise: str | Path | None = None,
    valid_fraction: float = 0.1,
    test_fraction: float = 0.1,
    group_regex: str | None = None,
    **options,
) -> dict[str, dict]:
    """Packs pairs, or speech and noise apart, or one of these.

    Arguments
    ---------
    destination : str or pathlib.Path
        Folder for the shards.
    noisy, clean, noise : str or pathlib.Path, optional
        Folders of mono recordings: ``noisy`` and ``clean`` of pairs, as of
        :func:`phasen_sb.data.pairs.prepare_pairs`, or ``clean`` and ``noise``,
        or one of these two.
    valid_fraction, test_fraction : float
        Shares of the files to validate and to test on.
    group_regex : str, optional
        Which files to keep in one split; not of noise.
    **options
        Of :func:`phasen_sb.data.shard_writing.write_shards`.

    Returns
    -------
    dict
        The index of each series: ``pairs``, ``speech`` or ``noise``.

    Raises
    ------
    UserError
        If folders are missing, do not go together, or are too small to split;
        or a noisy file has no partner.
    """
    folders = {"noisy": noisy, "clean": clean, "noise": noise}
    given = tuple(name for name in folders if folders[name])
    if given not in (
        ("noisy", "clean"),
        ("clean", "noise"),
        ("clean",),
        ("noise",),
    ):
        raise UserError(
            f"{' and '.join(f'--{n}' for n in given) or 'No folder'} cannot be "
            "packed; give --noisy and --clean, or --clean and --noise, or one "
            "of these two."
        )
    roots = {n: existing_folder(folders[n], f"--{n}") for n in given}
    out = make_writable_folder(destination, "of the shards")
    if len(given) == 2:
        (one, first), (two, second) = roots.items()
        check_apart(first, f"--{one}", second, f"--{two}")
    found = {name: find_audio(root, out) for name, root in roots.items()}
    if noisy:
        problems: list[tuple[Path, str]] = []
        pairs = match_pairs(
            found["noisy"],
            found["clean"],
            roots["noisy"],
            roots["clean"],
            problems,
        )
        files = len(found["noisy"]) + len(found["clean"])
        raise_bad_files(problems, files, out)
        series = {"pairs": pairs}
    else:
        series = {
            "speech" if name == "clean" else name: {
                key: {f"{name}_wav": path} for key, path in files.items()
            }
            for name, files in found.items()
        }
    return {
        kind: write_shards(
            split_items(
                items,
                valid_fraction,
                test_fraction,
                None if kind == "noise" else group_regex,
            ),
            kind,
            out,
            **options,
        )
        for kind, items in series.items()
    }
