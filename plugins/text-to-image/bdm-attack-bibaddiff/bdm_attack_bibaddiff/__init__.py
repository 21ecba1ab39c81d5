"""BiBadDiff: poisoned class data for text-to-image models (2311.02373) as a plugin of bdm."""
