"""Attack: CTRL."""
