"""Defense: plain fine-tuning of a classifier."""
