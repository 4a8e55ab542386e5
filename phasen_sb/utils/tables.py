"""Tables in Markdown."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate


def format_markdown_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    align: Sequence[str] | None = None,
) -> str:
    """Writes a Markdown table whose columns also line up as plain text.

    Cells are given as they are to be shown; ``align`` is ``"left"`` (the
    default) or ``"right"`` for each column. There is no line break at the end.

    >>> rows, align = [["a|b", "0.900"]], ["left", "right"]
    >>> print(format_markdown_table(["system", "STOI"], rows, align))
    | system   |   STOI |
    |:---------|-------:|
    | a\\|b     |  0.900 |
    """
    cells = [
        [cell.replace("|", "\\|") for cell in row] for row in [header, *rows]
    ]
    return tabulate(
        cells[1:],
        cells[0],
        tablefmt="pipe",
        colalign=align or ["left"] * len(header),
        disable_numparse=True,
    )
