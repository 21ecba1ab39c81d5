"""Attack: a style by rules."""
