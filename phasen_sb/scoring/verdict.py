"""What a comparison of two systems shows, in one sentence."""

from typing import Any

from phasen_sb.metrics.registry import METRICS

#: Bootstrap intervals over fewer files are too narrow: of systems that do not
#: differ, 10 files make 9 % look different, 3 files 25 %, instead of 5 %.
FEW_FILES = 20


def is_significant(interval: list[float]) -> bool:
    """Whether a 95 % interval of a difference leaves out zero.

    Example
    -------
    >>> is_significant([0.1, 0.3]), is_significant([-0.1, 0.3])
    (True, False)
    """
    return interval[0] > 0 or interval[1] < 0


def describe_comparison(
    comparison: dict[str, Any],
    metrics: list[str],
    words: dict[str, Any] | None = None,
) -> str:
    """Says in which measures the second system differs from the first.

    Arguments
    ---------
    comparison : dict
        One of the "comparisons" of ``scores.json``.
    metrics : list of str
        The measures in the order to name them. Those that contain PESQ are
        left out, since they would count it several times, and so are those of
        the second family.
    words : dict, optional
        The same comparison of
        :func:`phasen_sb.scoring.word_errors.score_words`.

    Returns
    -------
    str
        One sentence.
    """
    groups: dict[str, list[str]] = {"better": [], "worse": [], "": []}
    files = 0
    for metric in metrics:
        found = comparison["metrics"][metric]
        again = METRICS[metric].contains_pesq or metric.endswith("_rescaled")
        # One file has no interval.
        if again or not found["ci95"]:
            continue
        files = max(files, found["n"])
        rises = found["mean_difference"] > 0
        kind = (
            "better" if rises == METRICS[metric].higher_is_better else "worse"
        )
        kind = kind if is_significant(found["ci95"]) else ""
        groups[kind].append(METRICS[metric].label)
    if words and words["ci95"]:
        files = max(files, words["files"])
        kind = "worse" if words["difference"] > 0 else "better"
        kind = kind if is_significant(words["ci95"]) else ""
        groups[kind].append("word error rate")
    shown = [
        f"{kind} in {_list(names)}"
        for kind, names in groups.items()
        if kind and names
    ]
    if groups[""]:
        shown.append(f"not significantly different in {_list(groups[''])}")
    if not shown:
        return (
            f"Verdict: {comparison['to']} and {comparison['from']} have "
            "scores of fewer than two files in common: nothing can be said."
        )
    few = ": too few to be sure" if files < FEW_FILES else ""
    return (
        f"Verdict: {comparison['to']} against {comparison['from']} is "
        f"{'; '.join(shown)} (paired 95 % intervals, {files} files{few})."
    )


def _list(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
