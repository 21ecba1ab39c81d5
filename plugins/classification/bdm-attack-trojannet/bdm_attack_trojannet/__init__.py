"""Attack: a small network that knows binary codes is joined to a clean model."""
