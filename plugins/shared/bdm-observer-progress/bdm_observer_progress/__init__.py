"""Live progress of a run's stages in the terminal."""
