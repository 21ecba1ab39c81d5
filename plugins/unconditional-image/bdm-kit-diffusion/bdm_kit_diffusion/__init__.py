"""The diffusion kit: what every plugin for unconditional image generation shares."""

TASK = "unconditional-image-generation"
"""The tag of the kit's task."""
