"""What is measured of each class. Light: no torch."""

MEASURES = ("patch", "added", "warp", "margin")
"""The first three are small, the last is large for a class that a backdoor leads to."""
