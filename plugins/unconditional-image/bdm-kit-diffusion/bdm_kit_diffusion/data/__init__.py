"""Data: the built-in sets, and those of the user."""
