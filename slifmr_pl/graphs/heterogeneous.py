"""All graphs of a data set, and their assembly into what one epoch propagates over."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from slifmr_pl.graphs.correlation import CorrelationData, CorrelationEntries, Injection, Target
from slifmr_pl.graphs.interaction import InteractionGraph
from slifmr_pl.graphs.item_graphs import item_edges
from slifmr_pl.graphs.neighbours import Neighbours
from slifmr_pl.graphs.reference_graphs import ReferenceInteractionGraph, ReferenceRelationalGraph
from slifmr_pl.graphs.relational import RelationalGraph
from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.graphs.sparse.reference_products import ReferenceGraph
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

    @property
    def correlation_data(self) -> CorrelationData:
        """What builders and entries of the correlation graph may know."""
        return CorrelationData(self.n_items, self.support)

    @property
    def support(self) -> Tensor:
        """int64 [I], training interactions of each item."""
        return torch.bincount(self.items, minlength=self.n_items)


@dataclass(frozen=True)
class Propagation:
    """The matrices of one epoch; constant, unless they are for reference propagation.

    Attributes:
        interaction: A_t [U + I, U + I], by blocks.
        modalities: S_m,t [I, I] by modality.
        knowledge: G_t for every head, where a network has more than one knowledge layer.
        knowledge_items: G_t with item heads only, for the last layer; None without a KG.
        user_items: Row-normalised Y [U, I], where a network fuses items into users.
        entries: How C_t enters the graphs.
        correlation: C_t [I, I]; None without one.
        assembler: What made them.
        item_graphs: Graphs of further views, by their names; filled as they are asked for.
    """

    interaction: InteractionGraph | ReferenceInteractionGraph
    modalities: Mapping[str, SparseGraph | ReferenceGraph]
    knowledge: RelationalGraph | ReferenceRelationalGraph | None
    knowledge_items: RelationalGraph | ReferenceRelationalGraph | None
    user_items: SparseGraph | None
    entries: CorrelationEntries
    correlation: Edges | None
    assembler: "GraphAssembler"
    item_graphs: dict[str, SparseGraph | ReferenceGraph] = field(default_factory=dict)

    def injection(self, target: Target) -> Injection | None:
        """What C_t adds to a graph; None where it does not enter it, or has no edges yet."""
        return self.entries.inject(target, self.correlation)

    def item_graph(
        self, name: str, edges: Callable[[], Edges], *, symmetric: bool
    ) -> SparseGraph | ReferenceGraph:
        """The graph of a further view, with what C_t adds to it; made once an epoch.

        Args:
            name: Of the view.
            edges: Gives its own edges [I, I], when they are needed.
            symmetric: Whether these are their own transpose, to the last bit.
        """
        if name not in self.item_graphs:
            own = edges().to(self.assembler.device)
            injection = self.injection(Target("view", name))
            self.item_graphs[name] = self.assembler.item_graph(own, injection, symmetric=symmetric)
        return self.item_graphs[name]


class GraphAssembler:
    """Joins the graphs of a data set with the correlation graph and attention of an epoch.

    Args:
        graph: The data set's graphs.
        use_modalities: Whether modality graphs are wanted.
        weighted_edges: Modality edges keep their cosine similarity.
        use_user_items: Whether the user-by-item mean is wanted.
        knowledge_layers: Layers of the knowledge view; 0 for none.
        entries: How the correlation graph enters the others; None for not at all.
        reference: Make graphs for propagation in ordinary autograd, whose values may carry
            gradients.
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
        entries: CorrelationEntries | None = None,
        reference: bool = False,
        backend: SparseBackend = "auto",
        device: torch.device | str = "cpu",
    ) -> None:
        self.graph = graph
        self.entries = CorrelationEntries() if entries is None else entries
        self.reference = reference
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
        return Propagation(
            interaction=self._interaction(correlation),
            modalities={
                name: self.item_graph(
                    edges,
                    self.entries.inject(Target("modality", name), correlation),
                    symmetric=True,
                )
                for name, edges in self._modalities.items()
            },
            knowledge=self._relational(correlation, attention, None)
            if self.knowledge_layers > 1
            else None,
            knowledge_items=self._relational(correlation, attention, self.graph.n_items)
            if self.knowledge_layers > 0
            else None,
            user_items=self._user_items,
            entries=self.entries,
            correlation=correlation,
            assembler=self,
        )

    def item_graph(
        self, edges: Edges, injection: Injection | None, *, symmetric: bool
    ) -> SparseGraph | ReferenceGraph:
        """The graph `keep · edges + injection`, [I, I].

        Args:
            edges: On the device of the assembler.
            injection: What C_t adds; None for nothing.
            symmetric: Whether `edges` is its own transpose, to the last bit.
        """
        if injection is not None:
            edges = injection.added_to(edges)
            symmetric = symmetric and injection.symmetric
        if self.reference:
            return ReferenceGraph(edges)
        return SparseGraph.build(edges.detached(), symmetric=symmetric, backend=self.backend)

    def _interaction(
        self, correlation: Edges | None
    ) -> InteractionGraph | ReferenceInteractionGraph:
        graph = self.graph
        injection = self.entries.inject(Target("interaction"), correlation)
        corner = None if injection is None else injection.edges
        if self.reference:
            users, items = graph.users.to(self.device), graph.items.to(self.device)
            return ReferenceInteractionGraph.build(
                users, items, graph.n_users, graph.n_items, corner
            )
        return InteractionGraph.build(
            graph.users,
            graph.items,
            graph.n_users,
            graph.n_items,
            None if corner is None else corner.detached(),
            symmetric=injection is None or injection.symmetric,
            backend=self.backend,
        ).to(self.device)

    def _relational(
        self, correlation: Edges | None, attention: Tensor | None, n_heads: int | None
    ) -> RelationalGraph | ReferenceRelationalGraph:
        assert self.triples is not None
        extra: SparseGraph | ReferenceGraph | None = None
        if self.entries.any_enters(Target("knowledge")):
            # A relation from the start, so that its weight is there before C_t has edges.
            none = Edges.empty((self.graph.n_items, self.graph.n_items), self.device)
            injection = self.entries.inject(Target("knowledge"), correlation)
            injection = injection or Injection(none, symmetric=True)
            extra = self.item_graph(injection.edges, None, symmetric=injection.symmetric)
        if attention is None:
            attention = self.triples.uniform_attention()
        if self.reference:
            assert extra is None or isinstance(extra, ReferenceGraph)
            return ReferenceRelationalGraph.build(self.triples, attention, extra, n_heads)
        assert extra is None or isinstance(extra, SparseGraph)
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
