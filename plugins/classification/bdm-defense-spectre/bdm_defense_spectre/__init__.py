"""Defense: robust whitening of features and a quantum entropy score."""
