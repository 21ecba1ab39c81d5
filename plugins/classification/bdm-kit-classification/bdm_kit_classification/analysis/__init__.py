"""What analyses of classifiers share: the rows they look at."""
