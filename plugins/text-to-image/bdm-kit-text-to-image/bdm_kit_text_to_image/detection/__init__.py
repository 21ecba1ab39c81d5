"""What detectors of triggered prompts have in common."""
