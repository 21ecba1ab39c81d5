"""Training: distillation and personalisation."""
