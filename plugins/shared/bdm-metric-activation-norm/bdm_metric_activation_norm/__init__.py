"""Metric: Which units of a network a trigger moves: norms of activations by step, layer and unit."""
