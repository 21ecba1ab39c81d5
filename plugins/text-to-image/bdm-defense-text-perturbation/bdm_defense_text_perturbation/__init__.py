"""Defense: textual perturbation, which changes every prompt a little before the model reads it."""
