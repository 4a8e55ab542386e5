"""Enhances many files: a folder, a list, an archive on a cluster."""
