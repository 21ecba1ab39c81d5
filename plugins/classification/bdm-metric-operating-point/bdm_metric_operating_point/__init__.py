"""Metric: what other operating points of a pruning would have given, an upper bound."""
