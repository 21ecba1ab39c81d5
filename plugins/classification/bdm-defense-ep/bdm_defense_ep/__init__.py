"""Defense of classifiers: prunes units whose pre-activations on the training data have a low entropy."""
