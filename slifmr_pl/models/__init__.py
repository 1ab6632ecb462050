"""Recommenders to compare SLIF-MR with, small enough to be read in a minute each.

They are LightningModules that `lightning_cli.py` takes in the network's place (`configs/model/`),
so that data, protocol, metrics and what a run leaves behind are the same. Those that are the
network with parts switched off are configurations of it, and not here.
"""
