"""Defense: Elijah for triggers in the initial latents of text-to-image models."""
