"""Labelled samples: sources, parts, files."""
