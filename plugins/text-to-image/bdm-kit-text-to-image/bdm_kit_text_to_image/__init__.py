"""The kit for text-to-image generation."""

TASK = "text-to-image"
"""The tag of the kit's task."""
