"""What analyses of classifiers share: the rows they look at, and arrays and pictures for the report."""
