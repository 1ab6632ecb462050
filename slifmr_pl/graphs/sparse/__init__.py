"""Sparse products, top-k, and columns shared out over processes."""
