"""A run's losses, times and results as TensorBoard event files."""
