"""SLIF-MR: self-loop iterative fusion for multimodal, knowledge-aware recommendation."""

__version__ = "0.1.0"
