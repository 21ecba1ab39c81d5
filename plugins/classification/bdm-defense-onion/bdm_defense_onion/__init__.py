"""Defense: ONION."""
