"""Defense: STRIP."""
