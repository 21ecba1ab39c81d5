"""Noise: its levels, its first draw, and predictors of it."""
