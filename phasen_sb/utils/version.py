"""The version of ``phasen_sb``, which ``setup.py`` reads, too."""

VERSION = "0.1.0"
