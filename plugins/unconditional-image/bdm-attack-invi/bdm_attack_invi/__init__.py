"""Attack: InviBackdoor, a bilevel attack that learns a trigger of bounded size (2406.00816)."""
