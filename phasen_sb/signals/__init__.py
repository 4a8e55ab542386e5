"""Spectra, the STFT and its inverse, padding and level."""
