"""Attack: Blended."""
