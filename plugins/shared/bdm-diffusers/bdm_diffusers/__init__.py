"""What the kits of diffusion models share: samplers, the sampling loop, trigger coefficients."""
