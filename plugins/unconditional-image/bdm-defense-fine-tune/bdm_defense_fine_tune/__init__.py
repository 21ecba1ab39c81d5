"""Defense: plain fine-tuning on clean data."""
