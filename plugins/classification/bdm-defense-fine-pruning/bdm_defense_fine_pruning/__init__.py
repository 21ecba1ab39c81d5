"""Defense of classifiers: prunes units that clean data leave silent, then fine-tunes."""
