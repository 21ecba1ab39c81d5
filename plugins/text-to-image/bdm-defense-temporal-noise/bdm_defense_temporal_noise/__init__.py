"""Defense: flag prompts whose predicted noise changes from step to step otherwise than that of clean ones."""
