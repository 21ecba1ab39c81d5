"""Metric: Filters of the first convolutions that carry a backdoor, and how the trigger moves what they answer."""
