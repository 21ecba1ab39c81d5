"""Attack: Perlin noise added to the picture."""
