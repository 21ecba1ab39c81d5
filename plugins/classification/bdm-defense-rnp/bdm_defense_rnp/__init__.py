"""Defense of classifiers: prunes the units that a network needs not to recover what it unlearned."""
