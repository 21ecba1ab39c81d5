"""Attack: SSBA."""
