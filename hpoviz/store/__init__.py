"""The folder of a run, and its state computed from events."""
