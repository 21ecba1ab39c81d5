"""Defense: two clusters of activations in each class, the smaller one is suspected."""
