"""Metric: improved precision and recall."""
