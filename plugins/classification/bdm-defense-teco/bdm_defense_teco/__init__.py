"""Defense: TeCo."""
