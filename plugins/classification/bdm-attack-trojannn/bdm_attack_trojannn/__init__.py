"""Attack: TrojanNN."""
