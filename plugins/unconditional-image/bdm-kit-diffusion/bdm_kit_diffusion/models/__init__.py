"""Models: open, save, seal."""
