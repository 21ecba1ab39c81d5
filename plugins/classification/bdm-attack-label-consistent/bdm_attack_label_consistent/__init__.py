"""Attack: Label-consistent."""
