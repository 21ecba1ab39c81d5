"""Defense: UFID on prompts, which flags prompts that paint the same whatever is added to them."""
