"""Defense: ShrinkPad."""
