"""The Brain, and what belongs to a run."""
