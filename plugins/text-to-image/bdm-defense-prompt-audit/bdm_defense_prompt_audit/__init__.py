"""Defense: flag prompts by words that move too much, phrases that move nothing, attention to the end, and spikes."""
