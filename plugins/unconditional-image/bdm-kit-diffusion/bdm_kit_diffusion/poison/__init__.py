"""Poison: training sets, training and secrets of backdoors."""
