"""Defense: train from scratch without the rows that a detector flagged."""
