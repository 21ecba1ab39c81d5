"""An attack whose backdoor is a weight edit and whose sampler is its own. It exists to test third-party plugins."""
