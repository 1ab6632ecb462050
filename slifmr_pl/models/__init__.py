"""The contract of a model, and recommenders to compare SLIF-MR with.

The contract is `base.RecommenderModule`; the peers are written on it, each one file that is read in
a minute. Those that are the network of SLIF-MR with parts switched off are configurations of it.
"""
