"""Defense: Elijah, which inverts the trigger, judges the model by what the trigger generates, and trains it away."""
