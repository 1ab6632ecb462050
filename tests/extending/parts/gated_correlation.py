"""A way for C_t to enter: each edge is let through by a gate that training opens or closes."""

import torch
from torch import nn

from slifmr_pl import CorrelationData, CorrelationEntry, Edges, Injection, Target


class GatedCorrelation(CorrelationEntry):
    """σ(gate of the source + gate of the target) · C_t between items, and in every modality.

    Args:
        gamma: What an open gate lets through.
    """

    learned = True

    def __init__(self, gamma: float = 0.3) -> None:
        super().__init__()
        self.gamma = gamma

    def build(self, data: CorrelationData) -> None:
        """Gates that begin by how much is known of an item: rare ones wide open."""
        self.gate = nn.Parameter(1.0 / data.support.float().clamp_min(1))

    def enters(self, target: Target) -> bool:
        """The items' corner of the interaction graph, and modality graphs."""
        return target.kind in ("interaction", "modality")

    def inject(self, target: Target, correlation: Edges) -> Injection:
        """The gated edges."""
        gates = self.gate[correlation.rows] + self.gate[correlation.columns]
        values = self.gamma * correlation.values * torch.sigmoid(gates)
        keep = 1.0 - self.gamma if target.kind == "modality" else 1.0
        return Injection(correlation.with_values(values), keep)
