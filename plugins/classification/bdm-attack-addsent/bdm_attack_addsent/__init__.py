"""Attack: AddSent."""
