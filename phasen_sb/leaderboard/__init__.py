"""Published results on VoiceBank-DEMAND beside our own runs.

Authors
 * The phasen_sb authors 2026
"""

from phasen_sb.leaderboard.entries import SCORES, Entry, read_published
from phasen_sb.leaderboard.model_cost import ModelCost, model_cost
from phasen_sb.leaderboard.runs import Run, read_runs

__all__ = [
    "SCORES",
    "Entry",
    "ModelCost",
    "Run",
    "model_cost",
    "read_published",
    "read_runs",
]
