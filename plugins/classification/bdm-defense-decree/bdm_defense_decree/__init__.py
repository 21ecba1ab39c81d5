"""Defense: the smallest trigger that makes an encoder's features all alike."""
