"""Normalised sparse graphs, exact neighbours and the one sparse product."""
