"""Attack: BppAttack."""
