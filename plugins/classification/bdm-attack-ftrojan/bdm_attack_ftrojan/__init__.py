"""Attack: FTrojan."""
