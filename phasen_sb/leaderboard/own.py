"""Renews the rows of the models that ship with the package.

With each model that ships, its maintainers score the files of
VoiceBank-DEMAND's test set and run, in the repository:

    python -m phasen_sb.leaderboard.own SCORES [--model NAME]

where SCORES is the folder that ``phasen score --noisy`` wrote, and NAME that of
the model in ``phasen_sb/models``, by default ``default``. The rows of the noisy
input and of the model in ``own.csv`` are replaced, or that of the model is
added; a test names the tables of the documentation that must follow.
"""

import argparse
from dataclasses import replace
from datetime import date
from pathlib import Path

from phasen_sb.errors import UserError
from phasen_sb.leaderboard.entries import NO, YES, Entry, read_own
from phasen_sb.leaderboard.runs import read_runs
from phasen_sb.leaderboard.tables import to_csv
from phasen_sb.models.cost import find_model_cost
from phasen_sb.models.loading import DEFAULT_MODEL, SHIPPED
from phasen_sb.utils.files import write_atomically
from phasen_sb.utils.provenance import provenance

TABLE = Path(__file__).with_name("own.csv")


def replace_own(
    scores: str,
    measured: str,
    table: Path = TABLE,
    model: Path = DEFAULT_MODEL,
) -> list[Entry]:
    """Replaces the rows of the noisy input and of a model that ships.

    Arguments
    ---------
    scores : str
        Folder that ``phasen score --noisy`` wrote for one enhanced folder.
    measured : str
        Date and commit of what was measured.
    table : Path
        Where the rows are written to.
    model : Path
        The model's folder; a model without a row gets one.

    Returns
    -------
    list of Entry
        All rows of the table, the new ones included.

    Raises
    ------
    UserError
        If the folder holds several systems, or its noisy input does not score
        as in the literature.
    """
    runs = read_runs([scores])
    if len(runs) != 1 or runs[0].noisy is None or not runs[0].entry.comparable:
        raise UserError(
            f"{scores} is not a score of one system on VoiceBank-DEMAND's "
            "824 test files with the literature's noisy input; run phasen "
            "score with --noisy and one --enhanced folder."
        )
    cost = find_model_cost(model)
    system = f"phasen_sb, {model.name} model"
    rows = read_own()
    if system not in [row.system for row in rows]:
        ours = [row for row in rows if row.zero_shot]
        rows.insert(rows.index(ours[-1]) + 1, replace(ours[0], system=system))
    for i, row in enumerate(rows):
        if row.domain != "unprocessed" and row.system != system:
            continue
        new = runs[0].noisy if row.domain == "unprocessed" else runs[0].entry
        rows[i] = replace(
            row,
            scores=new.scores,
            intervals=new.intervals,
            printed={},
            measured=measured,
            year=measured[:4],
        )
        if row.system == system:
            rows[i] = replace(
                rows[i],
                causal=NO if cost.latency is None else YES,
                latency_ms=cost.latency,
                parameters_M=cost.parameters / 1e6,
                macs_G_per_s=cost.macs_per_second / 1e9,
                extra_data=NO,
            )
    write_atomically(table, to_csv(rows))
    return rows


def main() -> None:
    """Replaces the rows of the repository's own table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scores", help="what phasen score --noisy wrote")
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL.name,
        help="its name in phasen_sb/models (default: %(default)s)",
    )
    given = parser.parse_args()
    commit = (provenance()["commit"] or "unknown")[:7]
    try:
        replace_own(
            given.scores,
            f"{date.today()}, commit {commit}",
            model=SHIPPED / given.model,
        )
    except UserError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
