"""A table of files, Parquet or CSV, written row by row."""

import csv
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from phasen_sb.archives.file_measures import DNSMOS_COLUMNS, try_to_measure
from phasen_sb.archives.jobs import JobReport
from phasen_sb.archives.outcomes import ENHANCED, FAILED, KEPT, Outcome
from phasen_sb.errors import UserError
from phasen_sb.utils.files import name_partial, remove_partial

#: The type of each column.
COLUMNS: dict[str, type] = {
    "file": str,
    "output": str,
    "status": str,
    "reason": str,
    "seconds": float,
    "sample_rate": int,
    "channels": int,
    "level_dbfs": float,
    "peak_dbfs": float,
    "clipped_samples": int,
    "speech_share": float,
    "noise_dbfs": float,
    "snr_db": float,
    **dict.fromkeys(DNSMOS_COLUMNS, float),
    "elapsed": float,
}
#: Rows of a Parquet file that are kept in memory.
ROWS = 2000


class FileTable:
    """A table of files that is there in full at the end, or not at all.

    A context manager; after an error nothing is left. Rows go to the disk as
    they come, so that memory does not grow with their number.

    Arguments
    ---------
    path : path
        Ends in ``.parquet`` (which needs ``pyarrow``, of the extra ``scale``)
        or ``.csv``.

    Raises
    ------
    UserError
        If it ends in something else, ``pyarrow`` is missing, or the file
        cannot be written.

    Example
    -------
    >>> path = getfixture("tmp_path") / "report.csv"
    >>> outcome = Outcome("a.wav", "b.wav", "kept", measures={"seconds": 2.5})
    >>> with FileTable(path) as table:
    ...     table.add(outcome)
    >>> path.read_text().splitlines()[1]
    'a.wav,b.wav,kept,,2.5,,,,,,,,,,,,0.0'
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        kind = self.path.suffix.lower()
        if kind not in _WRITERS:
            raise UserError(
                f"--report {path} must end in {' or '.join(_WRITERS)}; rename "
                "it."
            )
        self._part = name_partial(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = _WRITERS[kind](self._part)
        except OSError as error:
            raise self._failure(error) from error

    def add(self, outcome: Outcome) -> None:
        """Adds a row."""
        row: dict[str, Any] = dict.fromkeys(COLUMNS) | {
            "file": str(outcome.source),
            "output": str(outcome.target),
            "status": outcome.status,
            "reason": outcome.reason,
            "elapsed": outcome.elapsed,
            **outcome.measures,
        }
        try:
            self._writer.write(row)
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> "FileTable":
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            self._writer.close()
            if kind is None:
                self._part.replace(self.path)
        except OSError as error:
            raise self._failure(error) from error
        finally:
            remove_partial(self._part)

    def _failure(self, error):
        return UserError(
            f"{self.path} cannot be written ({error.strerror or error}); make "
            "room or choose another --report, then run again: outputs that "
            "are there are kept."
        )


def tabulate_job(
    table: FileTable,
    pairs: Iterable[tuple[Path, Path]],
    report: JobReport,
    jobs: int = 1,
) -> None:
    """Measures the inputs of a job that is done, and adds a row for each.

    ``jobs`` is how many are measured at a time.
    """
    elapsed = {result.target: result.elapsed for result in report.done}

    def measure(pair):
        source, target = pair
        if source in report.failed:
            return Outcome(*pair, FAILED, report.failed[source])
        measures, reason = try_to_measure(source)
        status = ENHANCED if target in elapsed else KEPT
        return Outcome(
            *pair,
            status,
            reason,
            elapsed=elapsed.get(target, 0.0),
            measures=measures,
        )

    with ThreadPoolExecutor(jobs) as pool:
        for outcome in pool.map(measure, pairs):
            table.add(outcome)


class _CSV:
    def __init__(self, path):
        self._file = open(
            path, "w", newline="", encoding="utf-8", errors="surrogateescape"
        )
        self._writer = csv.DictWriter(self._file, COLUMNS)
        self._writer.writeheader()

    def write(self, row: Mapping) -> None:
        self._writer.writerow(row)

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path):
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise UserError(
                "A report in Parquet needs pyarrow; install it with: pip "
                'install "phasen_sb[scale]", or give a name that ends in .csv.'
            ) from error
        types = {
            str: pyarrow.string(),
            float: pyarrow.float64(),
            int: pyarrow.int64(),
        }
        self._schema = pyarrow.schema(
            [(name, types[kind]) for name, kind in COLUMNS.items()]
        )
        self._to_batch = pyarrow.RecordBatch.from_pylist
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._rows = []

    def write(self, row: Mapping) -> None:
        text = {
            name: value.encode(errors="backslashreplace").decode()
            for name, value in row.items()
            if isinstance(value, str)
        }
        self._rows.append({**row, **text})
        if len(self._rows) == ROWS:
            self._flush()

    def _flush(self):
        batch = self._to_batch(self._rows, self._schema)
        self._writer.write_batch(batch)
        self._rows = []

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()


_WRITERS = {".parquet": _Parquet, ".csv": _CSV}
