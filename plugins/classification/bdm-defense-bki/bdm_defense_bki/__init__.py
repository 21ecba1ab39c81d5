"""Defense: BKI."""
