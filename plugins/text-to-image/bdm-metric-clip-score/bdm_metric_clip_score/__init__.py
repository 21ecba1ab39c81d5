"""Metric: similarity of generated pictures and texts."""
