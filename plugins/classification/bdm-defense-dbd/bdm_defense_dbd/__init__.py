"""Defense: DBD: training with the backdoor cut off by self-supervised learning."""
