"""The only code that trains."""
