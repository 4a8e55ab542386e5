"""Enhances waveforms and files of any length, rate and channel count.

Authors
 * The phasen_sb authors 2026
"""
