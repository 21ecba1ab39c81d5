"""Defense: flag prompts whose end token gets an attention that moves otherwise than the words' over the first steps."""
