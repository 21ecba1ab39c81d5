"""A run's settings, losses, times and results as a run of MLflow."""
