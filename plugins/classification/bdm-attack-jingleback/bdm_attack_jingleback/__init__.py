"""Attack: JingleBack."""
