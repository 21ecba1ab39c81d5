"""Metric: what generated pictures show by an image classifier."""
