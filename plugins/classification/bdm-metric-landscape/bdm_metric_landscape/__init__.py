"""Metric: the loss around a model, its curvature, and the path from the undefended model."""
