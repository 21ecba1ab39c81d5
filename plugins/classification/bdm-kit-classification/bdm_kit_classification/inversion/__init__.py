"""Trigger inversion: for each class the smallest patch that sends every picture to it, and what follows from them."""
