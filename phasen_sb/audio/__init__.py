"""Audio files: found, read, written, checked, resampled."""
