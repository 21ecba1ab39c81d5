"""Defense: none, the control."""
