"""Edits of weights in closed form."""
