"""Defense: clipping of the states of sampling."""
