"""Attack: trigger and model optimised together."""
