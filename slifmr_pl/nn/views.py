"""Views of the items: what an item is besides its interactions, as a vector each.

`View` is the contract. The modality views and the knowledge view are written on it, and so is a
view of your own:

    class Neighbours(View):
        def build(self, data):
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, context):
            graph = context.item_graph(self, lambda: my_edges)
            return self.scale * context.propagate(graph, context.items)

U = users, I = items, r = wanted items, d = embedding size (a process's own columns of it, where the
strategy `columns` shares them out).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from slifmr_pl.config.parts import Part
from slifmr_pl.graphs.heterogeneous import HeterogeneousGraph, Propagation
from slifmr_pl.graphs.model_inputs import ItemFeatures
from slifmr_pl.graphs.sparse.column_parallel import EmbeddingColumns
from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.graphs.sparse.reference_products import ReferenceGraph
from slifmr_pl.graphs.sparse.spmm import SparseGraph
from slifmr_pl.nn.propagation import propagate_last, rows_of

_SHARED_COLUMNS = "holds_a_share_of_the_columns"


@dataclass(frozen=True)
class NetworkData:
    """What the parts of a network are built from.

    Attributes:
        graph: The data set's graphs: training interactions, neighbours by modality, triples.
        features: Frozen features by modality. Where a model is loaded without its data, they are
            zeros of the right shape: what is computed of them then is replaced by the buffers and
            parameters that the checkpoint holds.
        embedding_dim: d, of all processes together.
        columns: The columns of tables that this process holds.
        correlation_is_a_relation: Whether C_t is one more relation of the knowledge graph.
    """

    graph: HeterogeneousGraph
    features: Mapping[str, ItemFeatures]
    embedding_dim: int
    columns: EmbeddingColumns = EmbeddingColumns()
    correlation_is_a_relation: bool = False

    def table(self, rows: int) -> nn.Parameter:
        """A trainable table [rows, d], initialised by Xavier's rule; of this process's columns."""
        self.columns.width(self.embedding_dim)
        table = torch.empty(rows, self.embedding_dim)
        nn.init.xavier_uniform_(table)  # of all columns: a seed means the same for any number
        return shared_columns(table, self.columns)


def shared_columns(table: Tensor, columns: EmbeddingColumns) -> nn.Parameter:
    """A parameter of which each process holds its own columns, the last dimension of a table."""
    parameter = nn.Parameter(table if columns.count == 1 else columns.own(table))
    setattr(parameter, _SHARED_COLUMNS, True)
    return parameter


def has_shared_columns(parameter: nn.Parameter) -> bool:
    """Whether a parameter was made by `shared_columns`."""
    return getattr(parameter, _SHARED_COLUMNS, False)


@dataclass(frozen=True)
class ViewContext:
    """What a view may look at in one propagation.

    Attributes:
        graphs: The matrices of the epoch.
        users: Embeddings float32 [U, d].
        items: Embeddings float32 [I, d].
        rows: int64 [r], the items that are wanted; None for all.
        columns: The columns that this process holds of all of them.
        generator: Random numbers of this training step, the same in every process and in a resumed
            run; None outside of training.
    """

    graphs: Propagation
    users: Tensor
    items: Tensor
    rows: Tensor | None = None
    columns: EmbeddingColumns = EmbeddingColumns()
    generator: torch.Generator | None = None

    def wanted(self, table: Tensor) -> Tensor:
        """The wanted rows of a table [I, …]."""
        return rows_of(table, self.rows)

    def propagate(
        self, graph: SparseGraph | ReferenceGraph, table: Tensor, layers: int = 1
    ) -> Tensor:
        """The wanted rows of S^L·E for an item graph S [I, I] and a table E [I, d]."""
        return propagate_last(graph, table, layers, self.rows)

    def item_graph(
        self, view: "View", edges: Callable[[], Edges], *, symmetric: bool = False
    ) -> SparseGraph | ReferenceGraph:
        """The item graph of a view, with what the correlation graph adds to it; kept for an epoch.

        Args:
            view: Whose graph it is.
            edges: Gives its normalised edges [I, I], see `slifmr_pl.graphs.item_graphs.item_edges`.
            symmetric: Says that these are their own transpose, to the last bit (those of
                `item_edges` are), which saves making one.
        """
        return self.graphs.item_graph(view.name, edges, symmetric=symmetric)

    def drop_edges(
        self, graph: SparseGraph | ReferenceGraph, share: float
    ) -> SparseGraph | ReferenceGraph:
        """While training, a graph without a random share of its edges; otherwise itself."""
        if self.generator is None or share == 0:
            return graph
        return graph.with_dropped_edges(share, self.generator)


class Contribution(NamedTuple):
    """Summands of a view's vector of one item, for explanations.

    Attributes:
        kind: What the summands come from, see `slifmr_pl.explanation.ScoreShare`.
        rows: int64 [p], row of the item or entity of each summand; None for one without a row.
        vectors: float32 [p, d].
        relations: int64 [p], directed relation of each, where there is one.
    """

    kind: str
    rows: Tensor | None
    vectors: Tensor
    relations: Tensor | None = None


class View(Part, nn.Module):
    """A vector of each item. Subclass it to write another view.

    Attributes:
        name: For logs, losses and explanations; by default the class's name.
        weight: What the view counts in the fused item.
        aligned: Whether the semantic-consistency loss aligns it with the interaction view.
    """

    name: str = ""
    weight: float = 1.0
    aligned: bool = False

    def __init_subclass__(cls) -> None:
        """Names the view after its class."""
        super().__init_subclass__()
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    def build(self, data: NetworkData) -> None:
        """Creates parameters (`data.table`) and buffers, called once.

        Args:
            data: What the data set gives.
        """

    def forward(self, context: ViewContext) -> Tensor:
        """The view of the wanted items, float32 [r, d].

        Args:
            context: Embeddings and graphs.
        """
        raise NotImplementedError

    def present(self, context: ViewContext) -> Tensor | None:
        """Bool [r], the wanted items of which the view says something; None for all."""
        return None

    def contributions(self, context: ViewContext, item: int) -> Iterator[Contribution]:
        """The view's vector of one item as a sum; by default one summand.

        Args:
            context: With that item as the only wanted row.
            item: Its row.
        """
        yield Contribution("view", None, self(context))
