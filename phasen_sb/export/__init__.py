"""Writes models: folders that load anywhere, model cards, graphs."""
