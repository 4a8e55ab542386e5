"""PHASEN and its blocks."""
