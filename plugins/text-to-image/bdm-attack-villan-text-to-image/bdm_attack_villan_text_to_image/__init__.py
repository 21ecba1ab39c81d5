"""Attack: VillanDiffusion on text-to-image models."""
