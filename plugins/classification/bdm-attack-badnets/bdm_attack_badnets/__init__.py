"""Attack: BadNets."""
