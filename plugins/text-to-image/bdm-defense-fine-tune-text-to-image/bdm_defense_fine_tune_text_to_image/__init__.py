"""Defense: fine-tuning of a text-to-image model on clean captioned images."""
