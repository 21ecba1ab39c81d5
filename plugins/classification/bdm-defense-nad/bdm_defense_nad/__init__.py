"""Defense: neural attention distillation."""
