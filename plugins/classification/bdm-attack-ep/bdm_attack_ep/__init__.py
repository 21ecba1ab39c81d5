"""Attack: EP."""
