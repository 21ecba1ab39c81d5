"""Metric: How alike the attention maps of a prompt's tokens are, without and with the trigger."""
