"""Toy plugins that each break one rule of the conformance kit; test_conformance_catches.py says which."""
