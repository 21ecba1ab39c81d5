"""Metric: what a detector found, and how often it is right."""
