"""Defense: TERD, which estimates the trigger from pairs of noise and judges models and inputs by it."""
