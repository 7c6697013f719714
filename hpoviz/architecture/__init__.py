"""Models as graphs, drawings and source."""
