"""Turns training runs and foreign checkpoints into folders that load anywhere.

Authors
 * The phasen_sb authors 2026
"""
