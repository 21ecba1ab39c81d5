"""Defense: T2IShield, detection of prompts whose attention maps are all alike."""
