"""Metric: what a defense costs."""
