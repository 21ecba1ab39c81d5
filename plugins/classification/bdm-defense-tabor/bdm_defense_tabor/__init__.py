"""Defense: TABOR: inversion of a trigger for each class with regularisers of its shape."""
