"""The views of the method: a modality's neighbours, and the knowledge graph.

I = items, r = wanted items, d = embedding size (a process's own columns), T = directed triples.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from slifmr_pl.graphs.correlation import Target
from slifmr_pl.graphs.relational import RelationalGraph
from slifmr_pl.graphs.sparse.column_parallel import EmbeddingColumns, unit_rows
from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.graphs.sparse.spmm import Csr, SparseGraph
from slifmr_pl.graphs.triples import DirectedTriples, relation_attention
from slifmr_pl.nn.propagation import propagate_last, propagate_relations
from slifmr_pl.nn.views import Contribution, NetworkData, View, ViewContext, shared_columns


class ModalityView(View):
    """h_m = S_m,t^L · E_item (Zhou & Shen 2023, FREEDOM, eq. 5).

    Where a vector is learned for the items that lack the modality, that vector is their view.

    Args:
        modality: Name of the modality.
        layers: L, at least 1.
        weight: Of the modalities together in the fused item.
    """

    is_present: Tensor

    def __init__(self, modality: str, layers: int = 1, weight: float = 1.0) -> None:
        super().__init__()
        self.name = modality
        self.layers = layers
        self.weight = weight
        self.missing: nn.Parameter | None = None

    def build(self, data: NetworkData) -> None:
        """Notes who has the modality, and creates the vector of those who lack it, if wanted."""
        self.register_buffer("is_present", data.graph.present[self.name], persistent=False)
        if self.name in data.graph.learned:
            self.missing = data.table(1)

    def forward(self, context: ViewContext) -> Tensor:
        """What reaches the wanted items from those with similar features, float32 [r, d]."""
        view = context.propagate(context.graphs.modalities[self.name], context.items, self.layers)
        if self.missing is None:
            return view
        return torch.where(context.wanted(self.is_present).unsqueeze(1), view, self.missing)

    def present(self, context: ViewContext) -> Tensor | None:
        """Items that have the modality; None where a vector stands for it."""
        return context.wanted(self.is_present) if self.missing is None else None

    def contributions(self, context: ViewContext, item: int) -> Iterator[Contribution]:
        """The item's edges, each in its share of S_m and its share of C_t; or the vector."""
        if self.missing is not None and not self.is_present[item]:
            yield Contribution("missing", None, self.missing)
            return
        graph, sources = context.graphs.modalities[self.name], context.items
        assert isinstance(graph, SparseGraph)
        if self.layers > 1:
            sources = propagate_last(graph, sources, self.layers - 1)
        items, values = entries_of(graph.forward, item)
        injection = context.graphs.injection(Target("modality", self.name))
        of_correlation = torch.zeros(len(context.items), 1, device=values.device)
        if injection is not None:
            neighbours, weights = edges_of(injection.edges, item)
            of_correlation[neighbours, 0] = weights
        for kind, part in (
            ("modality", values - of_correlation[items]),
            ("correlation", of_correlation[items]),
        ):
            edges = part.squeeze(1) != 0
            yield Contribution(kind, items[edges], (part * sources[items])[edges])


class KnowledgeView(View):
    """Mean of layers Σ_r (A_r E) ⊙ w_r over the knowledge graph, of unit length for each item.

    Unbounded, the view would grow with its relation weights, beyond what L2 on the embeddings can
    limit, and overfit (KGAT normalises here too: Wang et al. 2019, section 3.3).

    Args:
        layers: L, at least 1.
        weight: In the fused item.
        attention: Whether triples are weighted by relation-aware attention, refreshed once an
            epoch; otherwise every triple of a head counts the same.
    """

    name = "knowledge"
    aligned = True

    def __init__(self, layers: int = 1, weight: float = 1.0, attention: bool = True) -> None:
        super().__init__()
        self.layers = layers
        self.weight = weight
        self.attends = attention

    def build(self, data: NetworkData) -> None:
        """Creates the embeddings of the other entities, and the relations' weights."""
        triples = data.graph.triples
        assert triples is not None
        self.entity_embedding = data.table(data.graph.n_entities - data.graph.n_items)
        n_relations = triples.n_relations + data.correlation_is_a_relation
        # Ones: before training, every relation passes its tails on as they are.
        ones = torch.ones(self.layers, n_relations, data.embedding_dim)
        self.relation_weight = shared_columns(ones, data.columns)

    def entities(self, items: Tensor) -> Tensor:
        """Embeddings of all entities, float32 [n_entities, d], from those of the items."""
        return torch.cat([items, self.entity_embedding])

    def forward(self, context: ViewContext) -> Tensor:
        """The view of the wanted items, float32 [r, d], of length 1 over all columns."""
        return unit_rows(self._unscaled(context), context.columns)

    def _unscaled(self, context: ViewContext) -> Tensor:
        graphs = context.graphs
        assert graphs.knowledge_items is not None
        return propagate_relations(
            graphs.knowledge,
            graphs.knowledge_items,
            self.entities(context.items),
            self.relation_weight,
            context.rows,
        )

    def attention(
        self, triples: DirectedTriples, items: Tensor, columns: EmbeddingColumns
    ) -> Tensor:
        """Attention from the present weights, float32 [T], see `relation_attention`.

        Args:
            triples: On the device of the weights.
            items: Embeddings float32 [I, d].
            columns: Which columns those are.
        """
        return relation_attention(
            triples, self.entities(items), self.relation_weight[0], columns=columns
        )

    def contributions(self, context: ViewContext, item: int) -> Iterator[Contribution]:
        """Facts of the item and neighbours in C_t, at the length that the whole view has."""
        graphs, graph = context.graphs, context.graphs.knowledge_items
        assert isinstance(graph, RelationalGraph)
        sources = self.entities(context.items)
        length = float(self._unscaled(context).norm().clamp_min(1e-12))
        scale = 1 / (len(self.relation_weight) * length)
        pairs, _ = entries_of(graph.forward.pool, item)
        for layer, weight in enumerate(self.relation_weight):
            for pair in pairs.tolist():
                entities, values = entries_of(graph.forward.gather, pair)
                relation = graph.forward.relations[pair]
                vectors = scale * values * weight[relation] * sources[entities]
                yield Contribution("fact", entities, vectors, relation.expand(len(entities)))
            if graph.correlation is not None:
                items, values = entries_of(graph.correlation.forward, item)
                yield Contribution(
                    "correlation", items, scale * values * weight[-1] * sources[items]
                )
            if layer + 1 < len(self.relation_weight):
                assert isinstance(graphs.knowledge, RelationalGraph)
                sources = graphs.knowledge.propagate(sources, weight)


def entries_of(matrix: Csr, row: int) -> tuple[Tensor, Tensor]:
    """Columns int64 [e] and values float32 [e, 1] of a row of a sparse matrix."""
    first, last = matrix.offsets[row : row + 2].tolist()
    return matrix.columns[first:last].long(), matrix.values[first:last].unsqueeze(1)


def edges_of(edges: Edges, row: int) -> tuple[Tensor, Tensor]:
    """Columns int64 [e] and values float32 [e] of the edges of a row."""
    own = edges.rows == row
    return edges.columns[own], edges.values[own].detach()
