"""Attack: LIRA."""
