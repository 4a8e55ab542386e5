"""Enhances waveforms and files of any length, rate and channel count."""
