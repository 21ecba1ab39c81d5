"""Classifiers: the protocol, networks, folders."""
