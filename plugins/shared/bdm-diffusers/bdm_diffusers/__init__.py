"""What the kits of diffusion models share: samplers, the sampling loop, trigger coefficients."""

from bdm_diffusers.quick_imports import install

install()
