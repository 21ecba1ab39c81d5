"""Attack: Poison Ink."""
