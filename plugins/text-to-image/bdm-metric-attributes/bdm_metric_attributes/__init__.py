"""Metric: which attributes generated pictures show."""
