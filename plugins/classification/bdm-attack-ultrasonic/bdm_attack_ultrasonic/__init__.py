"""Attack: ultrasonic."""
