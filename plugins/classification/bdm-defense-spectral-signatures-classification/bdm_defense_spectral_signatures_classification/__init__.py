"""Defense: flag training rows by the first singular direction of their class's features."""
