"""Defense: RAP."""
