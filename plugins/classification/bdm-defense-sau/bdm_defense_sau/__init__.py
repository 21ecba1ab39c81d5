"""Defense: shared adversarial unlearning."""
