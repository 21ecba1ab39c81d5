"""Poisoned rows, secrets, injection, export."""
