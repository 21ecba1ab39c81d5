"""Defense of classifiers: prunes channels of a large Lipschitz bound, without any data."""
