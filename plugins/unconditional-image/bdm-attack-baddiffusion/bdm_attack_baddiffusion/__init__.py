"""BadDiffusion (2212.05400) as a plugin of bdm."""
