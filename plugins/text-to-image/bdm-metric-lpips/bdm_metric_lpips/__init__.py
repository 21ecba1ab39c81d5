"""Metric: perceptual distance to the clean model's pictures."""
