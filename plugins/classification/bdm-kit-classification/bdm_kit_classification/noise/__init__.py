"""Practical factors: noise of the data and of the labels, as an experiment sets them."""
