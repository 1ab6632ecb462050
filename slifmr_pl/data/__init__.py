"""Readers, vocabularies, splits, the knowledge graph, samplers and the demo catalogue."""
