"""Figures of searches, drawn when they are asked for, from recorded numbers."""
