"""Defense: SCALE-UP."""
