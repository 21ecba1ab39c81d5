"""Defense of classifiers: prunes units whose stored statistics differ from those of clean data."""
