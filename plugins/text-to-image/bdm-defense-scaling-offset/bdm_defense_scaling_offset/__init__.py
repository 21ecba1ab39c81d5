"""Defense: flag prompts whose predicted noise answers to scaled cross-attention otherwise than that of clean ones."""
