"""Attack: Input-Aware."""
