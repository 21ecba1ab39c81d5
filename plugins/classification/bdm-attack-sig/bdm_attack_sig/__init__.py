"""Attack: SIG."""
