"""Defense: flag prompts in which one masked word moves the activations of the first step more than it means."""
