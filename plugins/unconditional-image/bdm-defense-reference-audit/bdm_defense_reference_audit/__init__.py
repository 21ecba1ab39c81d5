"""Audit a diffusion model against the public model it was made from: detection and repair."""
