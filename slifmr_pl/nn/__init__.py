"""Encoders, fusion and the network: pure torch, no loss and no Trainer."""
