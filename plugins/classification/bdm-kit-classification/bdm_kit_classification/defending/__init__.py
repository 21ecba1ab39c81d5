"""What defenses of classifiers share: the reserve, operating points, thresholds, and training without flagged rows."""
