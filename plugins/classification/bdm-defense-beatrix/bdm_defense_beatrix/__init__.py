"""Defense: gram matrices of feature maps against those of clean rows."""
