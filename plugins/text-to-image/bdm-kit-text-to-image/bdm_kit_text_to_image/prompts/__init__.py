"""Prompts and captions, their triggers, and the secret."""
