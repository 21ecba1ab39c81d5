"""Attack: a pattern and a place drawn anew for each sample."""
