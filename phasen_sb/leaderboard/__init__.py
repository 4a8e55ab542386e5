"""Published results on VoiceBank-DEMAND, compared with our own runs."""

from phasen_sb.leaderboard.entries import SCORES, Entry, read_published
from phasen_sb.leaderboard.runs import Run, read_runs
from phasen_sb.models.cost import ModelCost, model_cost

__all__ = [
    "SCORES",
    "Entry",
    "ModelCost",
    "Run",
    "model_cost",
    "read_published",
    "read_runs",
]
