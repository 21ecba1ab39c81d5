"""Attack: Adaptive-Patch."""
