"""Defense: FreeEagle."""
