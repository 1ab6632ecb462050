"""All graphs of a data set, and their assembly into what one epoch propagates over.

The only place that knows how the correlation graph C_t enters the other graphs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from slifmr_pl.graphs.interaction import InteractionGraph
from slifmr_pl.graphs.item_graphs import item_edges, mixed
from slifmr_pl.graphs.neighbours import Neighbours
from slifmr_pl.graphs.relational import RelationalGraph
from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.graphs.sparse.spmm import SparseBackend, SparseGraph, resolve_backend
from slifmr_pl.graphs.triples import DirectedTriples


@dataclass(frozen=True)
class HeterogeneousGraph:
    """What a data set gives to propagate over, as dense tensors that travel in a checkpoint.

    Attributes:
        n_users: Number of users U.
        n_items: Number of items I.
        users: int64 [n], user row of each training interaction.
        items: int64 [n], item row of each training interaction.
        modalities: Nearest neighbours [I, k] of each modality, by its name.
        present: bool [I] for each modality: items that have it.
        learned: Modalities in which a learned vector stands for the items that lack them.
        triples: Directed triples whose first I entities are the items, or None.
    """

    n_users: int
    n_items: int
    users: Tensor
    items: Tensor
    modalities: Mapping[str, Neighbours] = field(default_factory=dict)
    present: Mapping[str, Tensor] = field(default_factory=dict)
    learned: tuple[str, ...] = ()
    triples: DirectedTriples | None = None

    def state(self) -> dict[str, Any]:
        """Plain types and tensors only, for a checkpoint; indices as int32."""
        triples = self.triples
        return {
            "n_users": self.n_users,
            "n_items": self.n_items,
            "users": self.users.int(),
            "items": self.items.int(),
            "modalities": {
                name: {
                    "indices": neighbours.indices.int(),
                    "weights": neighbours.weights,
                    "present": self.present[name],
                    "learned": name in self.learned,
                }
                for name, neighbours in self.modalities.items()
            },
            "triples": None
            if triples is None
            else {
                "heads": triples.heads.int(),
                "relations": triples.relations.int(),
                "tails": triples.tails.int(),
                "n_entities": triples.n_entities,
                "n_relations": triples.n_relations,
            },
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "HeterogeneousGraph":
        """The graph that `state` described."""
        triples = state["triples"]
        return cls(
            n_users=state["n_users"],
            n_items=state["n_items"],
            users=state["users"].long(),
            items=state["items"].long(),
            modalities={
                name: Neighbours(entry["indices"].long(), entry["weights"])
                for name, entry in state["modalities"].items()
            },
            present={name: entry["present"] for name, entry in state["modalities"].items()},
            learned=tuple(name for name, entry in state["modalities"].items() if entry["learned"]),
            triples=None
            if triples is None
            else DirectedTriples(
                triples["heads"].long(),
                triples["relations"].long(),
                triples["tails"].long(),
                triples["n_entities"],
                triples["n_relations"],
            ),
        )

    @property
    def n_entities(self) -> int:
        """Entities of the knowledge graph, items included."""
        return self.n_items if self.triples is None else self.triples.n_entities


@dataclass(frozen=True)
class CorrelationWeights:
    """Weights γ with which the correlation graph C_t enters each view.

    Attributes:
        interaction: γ_ui, weight of C_t in the corner of the user–item graph.
        modality: γ_m, share of C_t in every modality graph, 0 to 1.
        knowledge: γ_kg, weight of C_t as one more relation.
    """

    interaction: float = 0.0
    modality: float = 0.0
    knowledge: float = 0.0


@dataclass(frozen=True)
class Propagation:
    """The constant matrices of one epoch.

    Attributes:
        interaction: A_t [U + I, U + I], by blocks.
        modalities: S_m,t [I, I] by modality.
        knowledge: G_t for every head, where a network has more than one knowledge layer.
        knowledge_items: G_t with item heads only, for the last layer; None without a KG.
        user_items: Row-normalised Y [U, I], where a network fuses items into users.
    """

    interaction: InteractionGraph
    modalities: Mapping[str, SparseGraph]
    knowledge: RelationalGraph | None
    knowledge_items: RelationalGraph | None
    user_items: SparseGraph | None


class GraphAssembler:
    """Joins the graphs of a data set with the correlation graph and attention of an epoch.

    Args:
        graph: The data set's graphs.
        use_modalities: Whether modality graphs are wanted.
        weighted_edges: Modality edges keep their cosine similarity.
        use_user_items: Whether the user-by-item mean is wanted.
        knowledge_layers: Layers of the knowledge view; 0 for none.
        weights: How strongly the correlation graph enters each view.
        backend: Of the sparse products.
        device: Where the graphs are built and used.
    """

    def __init__(
        self,
        graph: HeterogeneousGraph,
        *,
        use_modalities: bool = True,
        weighted_edges: bool = False,
        use_user_items: bool = False,
        knowledge_layers: int = 1,
        weights: CorrelationWeights = CorrelationWeights(),
        backend: SparseBackend = "auto",
        device: torch.device | str = "cpu",
    ) -> None:
        self.graph = graph
        self.weights = weights
        self.backend = resolve_backend(backend)
        self.device = torch.device(device)
        self.knowledge_layers = 0 if graph.triples is None else knowledge_layers
        self.triples = graph.triples.to(self.device) if graph.triples is not None else None
        self._modalities = {
            name: item_edges(
                Neighbours(*(part.to(self.device) for part in neighbours)), weighted=weighted_edges
            )
            for name, neighbours in (graph.modalities.items() if use_modalities else ())
        }
        self._user_items = self._user_mean() if use_user_items else None

    def assemble(self, correlation: Edges | None, attention: Tensor | None) -> Propagation:
        """Builds the matrices of one epoch.

        Args:
            correlation: C_t [I, I]; None or without edges before the first feedback.
            attention: float32 [T], weights of the directed triples.
        """
        if correlation is not None and len(correlation) == 0:
            correlation = None
        interaction = InteractionGraph.build(
            self.graph.users,
            self.graph.items,
            self.graph.n_users,
            self.graph.n_items,
            correlation,
            self.weights.interaction,
            backend=self.backend,
        )
        modalities = {
            name: edges if correlation is None else mixed(edges, correlation, self.weights.modality)
            for name, edges in self._modalities.items()
        }
        return Propagation(
            interaction=interaction.to(self.device),
            modalities={name: self._symmetric(edges) for name, edges in modalities.items()},
            knowledge=self._relational(correlation, attention, None)
            if self.knowledge_layers > 1
            else None,
            knowledge_items=self._relational(correlation, attention, self.graph.n_items)
            if self.knowledge_layers > 0
            else None,
            user_items=self._user_items,
        )

    def _symmetric(self, edges: Edges) -> SparseGraph:
        return SparseGraph.build(edges, symmetric=True, backend=self.backend)

    def _relational(
        self, correlation: Edges | None, attention: Tensor | None, n_heads: int | None
    ) -> RelationalGraph:
        assert self.triples is not None
        extra = None
        if self.weights.knowledge > 0:
            if correlation is None:
                shape = (self.graph.n_items, self.graph.n_items)
                correlation = Edges.empty(shape, self.device)
            extra = self._symmetric(correlation.scaled(self.weights.knowledge))
        if attention is None:
            attention = self.triples.uniform_attention()
        return RelationalGraph.build(
            self.triples, attention, extra, n_heads=n_heads, backend=self.backend
        )

    def _user_mean(self) -> SparseGraph:
        users, items = self.graph.users.to(self.device), self.graph.items.to(self.device)
        counts = torch.bincount(users, minlength=self.graph.n_users)
        edges = Edges.build(
            users,
            items,
            counts[users].float().reciprocal(),
            (self.graph.n_users, self.graph.n_items),
        )
        return SparseGraph.build(edges, symmetric=False, backend=self.backend)
