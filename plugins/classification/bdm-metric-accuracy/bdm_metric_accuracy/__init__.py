"""Metric: accuracy and attack success of classifiers."""
