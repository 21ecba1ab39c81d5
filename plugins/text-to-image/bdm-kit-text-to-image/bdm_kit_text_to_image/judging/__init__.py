"""Judges: what pictures show."""
