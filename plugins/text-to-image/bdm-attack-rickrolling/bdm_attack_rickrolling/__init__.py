"""Rickrolling the Artist (2211.02408): backdoors in the text encoder, as a plugin of bdm."""
