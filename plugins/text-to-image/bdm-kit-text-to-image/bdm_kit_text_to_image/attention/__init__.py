"""Cross-attention: where it is, and what it looks at."""
