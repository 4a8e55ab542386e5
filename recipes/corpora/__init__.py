"""Builds speech and noise to train on from free sources.

``python -m recipes.corpora FOLDER``, see docs/corpora.md.
"""
