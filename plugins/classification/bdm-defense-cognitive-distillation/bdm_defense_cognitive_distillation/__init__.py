"""Defense: the smallest part of a sample that keeps the model's output."""
