"""Defense: opposite training on clean rows and on all, in which poisoned rows stand out."""
