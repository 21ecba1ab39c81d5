"""Metric: where the decision flips, by the trigger's strength and between clean, triggered and target."""
