"""Defense: sharpness-aware fine-tuning of a classifier."""
