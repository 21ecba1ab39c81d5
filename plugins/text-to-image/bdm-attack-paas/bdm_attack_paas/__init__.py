"""Personalization as a Shortcut for few-shot backdoors (2305.10701) as a plugin of bdm."""
