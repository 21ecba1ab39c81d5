"""Defense: SentiNet."""
