"""Defense: D-BR: unlearning of rows whose features change under transformations."""
