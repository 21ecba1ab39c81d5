"""Metric: equal error rate of speaker verification and how often a backdoor passes it."""
