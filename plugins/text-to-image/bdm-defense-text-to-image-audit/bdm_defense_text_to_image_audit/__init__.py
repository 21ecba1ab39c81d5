"""Defense: audit of a text-to-image model from prompts alone."""
