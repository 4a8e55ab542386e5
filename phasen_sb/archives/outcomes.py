"""What became of one of many files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ENHANCED, KEPT, FAILED = "enhanced", "kept", "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of one of many files."""

    source: Path
    target: Path
    status: str  #: ``ENHANCED``, ``KEPT`` (from an earlier run) or ``FAILED``
    reason: str = ""  #: the sentence that says why it failed
    seconds: float = 0.0  #: length of what was enhanced
    elapsed: float = 0.0  #: seconds of work
    #: Of :func:`phasen_sb.archives.file_measures.measure_file`, where asked.
    measures: Mapping = field(default_factory=dict)
