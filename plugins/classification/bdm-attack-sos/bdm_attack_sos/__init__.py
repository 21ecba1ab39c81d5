"""Attack: SOS."""
