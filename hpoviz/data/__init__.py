"""Data sets: checked arrays, splits, and the catalogue of names."""
