"""Defense: flag training rows at random, the control for every filter."""
