"""Contract tests for plug-ins: subclass them in your own test suite."""
