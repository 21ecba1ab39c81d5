"""Triggers and label rules."""
