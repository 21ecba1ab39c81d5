"""Defense: a neural polariser."""
