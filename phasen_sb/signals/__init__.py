"""Spectra, the STFT and its inverse, padding, level."""
