"""Defense: weights moved back to those of a public base."""
