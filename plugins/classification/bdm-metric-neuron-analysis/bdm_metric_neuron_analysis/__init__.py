"""Metric: how units answer to the trigger: change of activation (TAC), Lipschitz bound, distributions, feature maps."""
