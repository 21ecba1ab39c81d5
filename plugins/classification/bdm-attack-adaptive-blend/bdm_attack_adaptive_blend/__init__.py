"""Attack: Adaptive-Blend."""
