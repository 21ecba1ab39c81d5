"""Ask a language or vision model behind an OpenAI-compatible endpoint."""
