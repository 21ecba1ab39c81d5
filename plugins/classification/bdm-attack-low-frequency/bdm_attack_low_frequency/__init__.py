"""Attack: Low-frequency."""
