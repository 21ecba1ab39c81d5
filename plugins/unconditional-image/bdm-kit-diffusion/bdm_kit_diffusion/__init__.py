"""The diffusion kit: what every plugin for unconditional image generation shares."""
