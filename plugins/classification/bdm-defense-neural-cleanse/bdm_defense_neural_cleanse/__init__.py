"""Defense: Neural Cleanse: inversion of a trigger for each class, and unlearning of it."""
