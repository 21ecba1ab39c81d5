"""Defense: BaDExpert."""
