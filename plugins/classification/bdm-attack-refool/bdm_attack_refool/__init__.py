"""Attack: Refool."""
