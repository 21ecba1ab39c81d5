"""Metric: where triggered samples lie among the features of the classes: t-SNE, UMAP, log-spectrum, silhouette."""
