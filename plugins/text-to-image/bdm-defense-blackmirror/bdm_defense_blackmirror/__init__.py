"""Defense: BlackMirror, which compares what pictures show with what their prompts ask for."""
