"""Runs whose figures the documentation quotes; each prints its table."""
