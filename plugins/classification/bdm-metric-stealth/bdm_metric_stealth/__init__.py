"""Metric: how much a trigger changes a sample."""
