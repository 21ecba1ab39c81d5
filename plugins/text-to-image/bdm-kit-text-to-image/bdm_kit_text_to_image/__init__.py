"""bdm kit for text-to-image generation."""
