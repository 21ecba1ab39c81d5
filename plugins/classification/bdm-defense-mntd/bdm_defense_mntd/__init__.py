"""Defense: MNTD."""
