"""Metric: how close a model's samples are to the attack's target."""
