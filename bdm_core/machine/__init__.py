"""The machine a run happens on: versions, hardware, signals, and what must not be written down."""
