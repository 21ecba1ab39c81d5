"""Finished stages on disk, and who works on the unfinished ones."""
