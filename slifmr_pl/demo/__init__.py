"""The embedded catalogue that the demo trains on."""
