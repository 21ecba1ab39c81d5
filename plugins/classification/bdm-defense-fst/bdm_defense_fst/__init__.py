"""Defense: feature shift tuning."""
