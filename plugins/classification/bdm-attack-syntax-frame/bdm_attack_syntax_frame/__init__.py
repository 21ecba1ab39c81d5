"""Attack: a rare syntactic frame."""
