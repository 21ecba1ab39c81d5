"""Plots of results, made with Matplotlib and legible in greyscale: shapes, numbers and lines say what colours do."""
