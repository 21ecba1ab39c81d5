"""Defense: STEDF, a supervised upper bound for detectors of triggered prompts: it is told the triggers."""
