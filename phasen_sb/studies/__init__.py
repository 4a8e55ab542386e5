"""Trainings that differ in named settings."""
