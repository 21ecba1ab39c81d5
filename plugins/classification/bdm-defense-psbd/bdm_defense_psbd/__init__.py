"""Defense: shift of predictions under dropout."""
