"""The diffusion kit: what every plugin for unconditional image generation shares."""

import bdm_diffusers as bdm_diffusers  # makes the imports of torch and diffusers quick, so it comes first

TASK = "unconditional-image-generation"
"""The tag of the kit's task."""
