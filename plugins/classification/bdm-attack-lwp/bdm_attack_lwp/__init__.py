"""Attack: LWP."""
