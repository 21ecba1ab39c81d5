"""VillanDiffusion (2306.06874), the unconditional part, as a plugin of bdm."""
