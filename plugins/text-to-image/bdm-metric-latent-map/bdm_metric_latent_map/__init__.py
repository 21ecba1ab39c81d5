"""Metric: What is painted on a plane between a clean prompt, the triggered one and the target."""
