"""Defense: flag prompts whose attention maps are alike, find the trigger in them, and edit it away."""
