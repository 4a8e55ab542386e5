"""Word error rates of what a recogniser heard in each system's files."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from phasen_sb.scoring.statistics import RESAMPLES, SEED
from phasen_sb.scoring.transcripts import split_words

OPERATIONS = ("substitutions", "deletions", "insertions")


def count_errors(reference: str, hypothesis: str) -> dict[str, int]:
    """Counts the edits that make the reference's words of the hypothesis'.

    Returns "substitutions", "deletions" and "insertions", fewest together, and
    the number of "words" of the reference.

    Example
    -------
    >>> count_errors("The cat sat.", "the bat sat down")["insertions"]
    1
    """
    # Slow to import: it brings all of SpeechBrain.
    from speechbrain.utils.edit_distance import count_ops, op_table

    words = split_words(reference)
    edits = count_ops(op_table(words, split_words(hypothesis)))
    return {name: edits[name] for name in OPERATIONS} | {"words": len(words)}


def score_words(
    reference: Mapping[str, str],
    heard: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """Computes the word error rate of each system, and of each two.

    The rate is that of all files together: errors by words of the reference.
    Intervals are 95 % bootstrap intervals over files, paired for differences.

    Arguments
    ---------
    reference : dict
        Words spoken in each file, by name; files without words are left out.
    heard : dict
        For each system what was heard in each file, by name.

    Returns
    -------
    dict
        "systems" by name, with "wer", "ci95", "files", "words" and the numbers
        of errors, and "comparisons" of each two with the "difference" of their
        rates and its "ci95", over the files that both have.
    """
    counts = {
        name: {
            key: count_errors(reference[key], text)
            for key, text in texts.items()
            if split_words(reference.get(key, ""))
        }
        for name, texts in heard.items()
    }
    return {
        "systems": {name: _summarise(files) for name, files in counts.items()},
        "comparisons": [
            {"from": a, "to": b} | _compare(counts[a], counts[b])
            for a, b in combinations(counts, 2)
        ],
    }


def _errors(count: Mapping[str, int]) -> int:
    return sum(count[name] for name in OPERATIONS)


def _summarise(files: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    totals = {
        name: sum(count[name] for count in files.values())
        for name in ("words", *OPERATIONS)
    }
    errors = [_errors(count) for count in files.values()]
    words = [count["words"] for count in files.values()]
    rate, interval = _find_rate(errors, words)
    return {"wer": rate, "ci95": interval, "files": len(files), **totals}


def _compare(first, second) -> dict[str, Any]:
    shared = [key for key in first if key in second]
    errors = [_errors(second[key]) - _errors(first[key]) for key in shared]
    rate, interval = _find_rate(errors, [first[key]["words"] for key in shared])
    return {"difference": rate, "ci95": interval, "files": len(shared)}


def _find_rate(errors, words) -> tuple[float | None, list[float] | None]:
    """Errors by words of all files, with the interval over files."""
    from scipy.stats import bootstrap  # slow to import

    if not words:
        return None, None
    rate = sum(errors) / sum(words)
    if len(words) < 2:
        return rate, None
    interval = bootstrap(
        (errors, words),
        lambda e, w, axis=-1: np.sum(e, axis) / np.sum(w, axis),
        n_resamples=RESAMPLES,
        batch=1000,
        paired=True,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return rate, [float(interval.low), float(interval.high)]
