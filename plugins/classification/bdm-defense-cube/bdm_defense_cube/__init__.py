"""Defense: CUBE."""
