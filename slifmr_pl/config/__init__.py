"""Configurations: dataclasses, files, optional libraries."""
