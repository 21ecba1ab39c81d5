"""Inversion of triggers, and what follows from one."""
