"""Defense: repair by optimal transport between a pruned and the given model."""
