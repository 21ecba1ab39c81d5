"""Metric: a multimodal model judges generated pictures."""
