"""Attack: WaNet."""
