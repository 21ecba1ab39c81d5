"""Defense: extreme activations across all batch normalisations."""
