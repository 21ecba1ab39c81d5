"""Metric: Frechet distance between generated and training images."""
