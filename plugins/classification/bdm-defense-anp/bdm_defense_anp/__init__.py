"""Defense of classifiers: prunes the units that small changes of their weights turn against clean data."""
