"""The tasks that the kit serves, a light module each."""
