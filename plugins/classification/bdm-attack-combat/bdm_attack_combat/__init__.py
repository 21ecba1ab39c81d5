"""Attack: COMBAT."""
