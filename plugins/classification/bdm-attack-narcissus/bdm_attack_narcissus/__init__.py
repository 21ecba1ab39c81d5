"""Attack: Narcissus."""
