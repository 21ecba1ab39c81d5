"""Defense: angles of activation gradients to those of clean rows."""
