"""Pictures drawn by code: triggers and targets."""
