"""Enhancers that are stored: described, built, loaded."""
