"""Attack: BITE."""
