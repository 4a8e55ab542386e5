"""The score by which the best checkpoint is selected."""

import math

from phasen_sb.metrics.metric_report import MetricReport

#: Selects the best checkpoint, on the validation set.
SELECTION_METRIC = "pesq_wb"
#: The lower end of the scale, given to an utterance without a score.
WORST_SCORE = 1.0


def selection_score(report: MetricReport, loss: float) -> float:
    """Computes mean PESQ, with failures counted as the worst score.

    A mean over those that could be scored would compare other utterances from
    epoch to epoch: a network that makes the hardest ones silent, so that PESQ
    fails there, would win. The result is ``-inf``, never the best, if the loss
    is not finite or no utterance has a score.
    """
    values = report.values(SELECTION_METRIC)
    # SpeechBrain ranks NaN first.
    if not values or not math.isfinite(loss):
        return -math.inf
    failed = len(report.scores) - len(values)
    return (math.fsum(values) + failed * WORST_SCORE) / len(report.scores)
