"""Defense: a scan of the last layer's weights."""
