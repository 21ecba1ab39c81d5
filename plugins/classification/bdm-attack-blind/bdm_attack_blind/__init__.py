"""Attack: Blind."""
