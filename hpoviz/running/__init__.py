"""Runs trials: those of a search, and those of jobs beside it."""
