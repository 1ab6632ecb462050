"""The knowledge view's product Σ_r (A_r E) ⊙ w_r over constant relation matrices.

n = entities (items are the first rows), h = heads, R = directed relations, d = embedding size,
P = distinct (row, relation) pairs.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding, pad

from slifmr_pl.graphs.sparse.spmm import (
    Csr,
    SparseBackend,
    SparseGraph,
    check_size,
    resolve_backend,
    spmm,
)
from slifmr_pl.graphs.triples import DirectedTriples

# Pairs of one block: their [pairs, d] floats stay in a CPU's cache between three steps.
BLOCK_PAIRS = 4096


@dataclass(frozen=True)
class RelationalGraph:
    """Constant operands of Σ_r (A_r E) ⊙ w_r.

    Attributes:
        forward: From entities to heads.
        backward: From heads back to entities.
        correlation: [I, I], item–item edges that are one more relation, the last; or None.
    """

    forward: "RelationSums"
    backward: "RelationSums"
    correlation: SparseGraph | None = None

    @classmethod
    def build(
        cls,
        triples: DirectedTriples,
        attention: Tensor,
        correlation: SparseGraph | None = None,
        *,
        n_heads: int | None = None,
        backend: SparseBackend = "auto",
    ) -> "RelationalGraph":
        """Makes the operands of one epoch.

        Args:
            triples: T directed triples.
            attention: float32 [T].
            correlation: Weighted item–item graph that comes in as one more relation.
            n_heads: Keep only heads below this row (the items, for a last layer); default all.
            backend: Of the sparse products.

        Raises:
            ConfigError: If there are too many triples for int32 indices.
        """
        backend = resolve_backend(backend)
        n, n_relations = triples.n_entities, triples.n_relations
        n_heads = n if n_heads is None else n_heads
        kept = int(torch.searchsorted(triples.heads, n_heads))  # heads ascend
        check_size(kept, (n, n))
        order = triples.by_tail
        order = order[order < kept]
        heads, relations, tails = (
            part[:kept] for part in (triples.heads, triples.relations, triples.tails)
        )
        return cls(
            RelationSums.build(
                heads, relations, tails, attention[:kept], (n_heads, n), n_relations, backend
            ),
            RelationSums.build(
                tails[order],
                relations[order],
                heads[order],
                attention[order],
                (n, n_heads),
                n_relations,
                backend,
            ),
            correlation,
        )

    @property
    def n_heads(self) -> int:
        """Number h of heads, counted from entity 0."""
        return self.forward.pool.shape[0]

    def propagate(
        self, embeddings: Tensor, relation_weights: Tensor, rows: Tensor | None = None
    ) -> Tensor:
        """Σ_r (A_r E) ⊙ w_r.

        Args:
            embeddings: float32 [n, d].
            relation_weights: float32 [R, d].
            rows: int64 [r], the heads that are wanted; of the items only, where there is a
                correlation.

        Returns:
            float32 [h, d], or [r, d] with `rows`.
        """
        weights = relation_weights[: self.forward.n_relations]
        total: Tensor
        if rows is None:
            # torch declares Function.apply without types
            total = _AllHeads.apply(embeddings, weights, self)  # type: ignore[no-untyped-call]
        else:
            total = self.forward.of_rows(embeddings, weights, rows)
        if self.correlation is None:
            return total
        n_items = self.correlation.shape[0]
        extra = spmm(self.correlation, embeddings[:n_items], rows) * relation_weights[-1]
        return total + pad(extra, (0, 0, 0, len(total) - len(extra)))


class _Block(NamedTuple):
    """Some rows of a `RelationSums`."""

    rows: slice
    gather: Csr
    relations: Tensor
    pool: Csr


@dataclass(frozen=True)
class RelationSums:
    """Σ_r (A_r X) ⊙ w_r by rows: entries add up within a pair, then pairs within a row.

    Attributes:
        gather: [P, m]; row p sums the weighted entries of one (row, relation) pair.
        relations: int64 [P], relation of each pair.
        pool: [k, P]; ones over the pairs of each row, which lie side by side.
        n_relations: R.
    """

    gather: Csr
    relations: Tensor
    pool: Csr
    n_relations: int

    @classmethod
    def build(
        cls,
        rows: Tensor,
        relations: Tensor,
        columns: Tensor,
        values: Tensor,
        shape: tuple[int, int],
        n_relations: int,
        backend: SparseBackend,
    ) -> "RelationSums":
        """From entries sorted by (row, relation): int64 [T] indices and float32 [T] values."""
        pairs, lengths = torch.unique_consecutive(
            rows * n_relations + relations, return_counts=True
        )
        pair_rows = torch.div(pairs, n_relations, rounding_mode="floor")
        return cls(
            Csr.of_runs(lengths, columns, values, shape[1], backend),
            pairs % n_relations,
            _runs(torch.bincount(pair_rows, minlength=shape[0]), len(pairs), backend),
            n_relations,
        )

    def of_rows(self, table: Tensor, weights: Tensor, rows: Tensor) -> Tensor:
        """Some rows (int64 [r]) of the product, differentiable in both operands."""
        own = self.pool.select(rows)
        pairs = own.columns.long()
        sums = spmm(SparseGraph(self.gather), table, pairs)
        sums = sums * embedding(self.relations[pairs], weights)
        pool = _runs(own.offsets.diff().long(), len(pairs), own.backend)
        return spmm(SparseGraph(pool), sums)

    def product(self, table: Tensor, weights: Tensor) -> Tensor:
        """All rows, float32 [k, d], without gradient; a block of pairs at a time."""
        result = table.new_empty(self.pool.shape[0], table.shape[1])
        for block in self._blocks:
            sums = block.gather @ table
            sums *= weights.index_select(0, block.relations)
            result[block.rows] = block.pool @ sums
        return result

    def product_and_weight_gradient(
        self, table: Tensor, weights: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The product, and Σ over the pairs of a relation of rows ⊙ (the pair's sum).

        Where the table is the gradient of another product and `rows` [k, d] its operand, these are
        the gradients of that operand and of the relation weights.
        """
        result = table.new_empty(self.pool.shape[0], table.shape[1])
        gradient = torch.zeros_like(weights)
        for block, (expand, by_relation) in zip(self._blocks, self._block_sums, strict=True):
            sums = block.gather @ table
            gradient += by_relation @ (sums * rows[block.rows].index_select(0, expand))
            sums *= weights.index_select(0, block.relations)
            result[block.rows] = block.pool @ sums
        return result, gradient

    @cached_property
    def _blocks(self) -> list[_Block]:
        n_rows, n_pairs = self.pool.shape
        size = BLOCK_PAIRS if self.relations.device.type == "cpu" else max(n_pairs, 1)
        targets = torch.arange(0, n_pairs, size, device=self.relations.device)
        cuts = torch.searchsorted(self.pool.offsets.long(), targets).unique().tolist()
        bounds = [0, *(cut for cut in cuts if 0 < cut < n_rows), n_rows]
        blocks = []
        for first, last in pairwise(bounds):
            lengths = self.pool.offsets[first : last + 1]
            low, high = int(lengths[0]), int(lengths[-1])
            blocks.append(
                _Block(
                    slice(first, last),
                    self.gather.slice(low, high),
                    self.relations[low:high],
                    _runs(lengths.diff().long(), high - low, self.pool.backend),
                )
            )
        return blocks

    @cached_property
    def _block_sums(self) -> list[tuple[Tensor, Csr]]:
        """For each block: the row of each pair, and the matrix [R, pairs] that sums by relation."""
        parts = []
        for block in self._blocks:
            n_rows, n_pairs = block.pool.shape
            numbers = torch.arange(n_rows, device=block.relations.device)
            expand = numbers.repeat_interleave(block.pool.offsets.diff(), output_size=n_pairs)
            ones = torch.ones(n_pairs, device=block.relations.device)
            single = torch.ones(n_pairs, dtype=torch.int64, device=block.relations.device)
            relation = Csr.of_runs(
                single, block.relations, ones, self.n_relations, block.pool.backend
            )
            parts.append((expand, relation.transposed()))
        return parts


class _AllHeads(torch.autograd.Function):
    """The product for all heads; nothing of the size of the pairs is ever held."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, weights: Tensor, graph: RelationalGraph) -> Tensor:
        ctx.save_for_backward(embeddings, weights)
        ctx.graph = graph
        return graph.forward.product(embeddings, weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        embeddings, weights = ctx.saved_tensors
        backward: RelationSums = ctx.graph.backward
        gradient = gradients[0].contiguous()
        return *backward.product_and_weight_gradient(gradient, weights, embeddings), None


def _runs(lengths: Tensor, n_columns: int, backend: SparseBackend) -> Csr:
    """Rows of ones over columns that lie side by side."""
    columns = torch.arange(n_columns, dtype=torch.int32, device=lengths.device)
    ones = torch.ones(n_columns, device=lengths.device)
    return Csr.of_runs(lengths, columns, ones, n_columns, backend)
