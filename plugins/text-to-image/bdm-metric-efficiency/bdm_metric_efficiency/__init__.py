"""Metric: how much of a pipeline's weights a repair changed."""
