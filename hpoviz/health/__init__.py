"""The health of trained models."""
