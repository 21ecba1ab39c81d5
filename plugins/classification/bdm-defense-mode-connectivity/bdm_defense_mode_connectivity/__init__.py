"""Defense: mode connectivity."""
