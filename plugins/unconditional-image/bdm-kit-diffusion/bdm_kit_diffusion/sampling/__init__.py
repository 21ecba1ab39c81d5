"""Sampling: what the samplers make of a backdoor."""
