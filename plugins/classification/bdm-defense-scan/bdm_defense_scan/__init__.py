"""Defense: two-component untangling of each class by a decomposition of features."""
