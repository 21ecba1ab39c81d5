"""Metric: confusion with and without the trigger, damage by class, a radar, the structure of the network."""
