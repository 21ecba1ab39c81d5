"""Commands that rebuild the shipped models."""
