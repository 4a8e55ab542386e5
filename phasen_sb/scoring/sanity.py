"""Checks whether noisy files are those behind the numbers of the literature."""

import re
from collections.abc import Iterable

VOICEBANK_TEST_FILES = 824
NOISY_PESQ_WB = 1.97
TOLERANCE = 0.01

_NAME = re.compile(r"(.*__)?p(232|257)_\d{3}")


def is_literature_data(files: int, noisy_pesq_wb: float | None) -> bool:
    """Whether scores are means over the test set of the literature.

    Takes the number of scored files, and their mean wide-band PESQ before
    enhancement, None if not measured.

    Example
    -------
    >>> is_literature_data(824, 1.973), is_literature_data(824, None)
    (True, False)
    """
    return (
        files == VOICEBANK_TEST_FILES
        and noisy_pesq_wb is not None
        and abs(noisy_pesq_wb - NOISY_PESQ_WB) <= TOLERANCE + 1e-9
    )


def check_voicebank(
    names: Iterable[str], noisy_pesq_wb: float | None
) -> str | None:
    """Checks a test set that has the file names of VoiceBank-DEMAND.

    Its noisy files score 1.97 in wide-band PESQ throughout the literature.
    Where others do, their enhanced files do not compare either.

    The names have no suffix; ``noisy_pesq_wb`` is None if it was not measured.
    Returns one line for the report, None for another test set.
    """
    names = list(names)
    if not all(_NAME.fullmatch(name) for name in names):
        return None
    # Smaller sets are probably other data with the same names.
    if len(names) < VOICEBANK_TEST_FILES / 2:
        return None
    if len(names) != VOICEBANK_TEST_FILES:
        return (
            f"WARNING: these are {len(names)} files of VoiceBank-DEMAND's test "
            f"set; published scores are means over all {VOICEBANK_TEST_FILES}."
        )
    if noisy_pesq_wb is None:
        return (
            "Sanity check not made: give the noisy files with --noisy and "
            "keep pesq_wb among the metrics, to show that the data are those "
            "of the literature."
        )
    if not is_literature_data(len(names), noisy_pesq_wb):
        return (
            "WARNING: these data differ from the literature's, and the scores "
            "below do not compare with published ones: the noisy input scores "
            f"PESQ-wb {noisy_pesq_wb:.3f} instead of {NOISY_PESQ_WB:.2f}. "
            "Likely causes are another resampler or a bit depth below 16, "
            "changed levels or clipping, files cut or shifted, or another "
            "release of the corpus."
        )
    return (
        "Sanity check passed: the noisy input scores PESQ-wb "
        f"{noisy_pesq_wb:.3f}, as in the literature ({NOISY_PESQ_WB:.2f})."
    )
