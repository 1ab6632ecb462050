"""The user–item graph, with the correlation of items in its lower corner."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from slifmr_pl.graphs.sparse.edges import Edges
from slifmr_pl.graphs.sparse.reference_products import edge_dropout_factors
from slifmr_pl.graphs.sparse.spmm import (
    Csr,
    SparseBackend,
    SparseGraph,
    check_size,
    resolve_backend,
)


@dataclass(frozen=True)
class InteractionGraph:
    """Interaction view A_t = norm([[0, Y], [Y^T, γ·C_t]]) by its blocks, or some rows of it.

    Users and items stay two tables: joining them would copy both, and each block gathers from a
    table that is small enough to stay in a cache for longer.

    Attributes:
        user_items: [U, I], what users receive from items.
        item_users: [I, U], what items receive from users.
        item_items: [I, I], what items receive from items; None without a correlation graph.
        symmetric: Whether A_t is its own transpose.
    """

    user_items: SparseGraph
    item_users: SparseGraph
    item_items: SparseGraph | None = None
    symmetric: bool = True

    @classmethod
    def build(
        cls,
        users: Tensor,
        items: Tensor,
        n_users: int,
        n_items: int,
        corner: Edges | None = None,
        *,
        symmetric: bool = True,
        backend: SparseBackend = "auto",
    ) -> "InteractionGraph":
        """Normalises D^-1/2 A D^-1/2 over all blocks (LightGCN's graph: He et al. 2020, eq. 8).

        Nothing is sorted: rows are counted and filled, in time and memory linear in the
        interactions.

        Args:
            users: int64 [n], user row of each training interaction, in any order.
            items: int64 [n], item row of each training interaction.
            n_users: Number of users U.
            n_items: Number of items I.
            corner: Item–item edges C [I, I] with their weights, or None.
            symmetric: Whether they are their own transpose, to the last bit.
            backend: Of the sparse products.

        Returns:
            The graph, on the CPU.

        Raises:
            ConfigError: If the graph is too large for int32 indices.
        """
        from scipy import sparse

        check_size(len(users), (n_users, n_items))
        backend = resolve_backend(backend)
        ones = np.ones(len(users), dtype=np.float32)
        y = sparse.csr_array(
            (ones, (users.cpu().numpy(), items.cpu().numpy())), shape=(n_users, n_items)
        )
        user_degrees, item_degrees = (y.sum(axis=axis, dtype=np.float64) for axis in (1, 0))
        items_to_items = None
        if corner is not None:
            items_to_items = Csr.of(corner.to("cpu"), backend)
            item_degrees += items_to_items.scipy.sum(axis=1, dtype=np.float64)
        user_scale, item_scale = map(_scale, (user_degrees, item_degrees))
        user_items = SparseGraph(Csr.from_scipy(y, backend).scaled(user_scale, item_scale))
        item_items = None
        if items_to_items is not None:
            scaled = items_to_items.scaled(item_scale, item_scale)
            item_items = SparseGraph(scaled, scaled if symmetric else None)
        return cls(
            user_items,
            user_items.transposed(),
            item_items,
            symmetric=symmetric or item_items is None,
        )

    @property
    def n_users(self) -> int:
        """Number of user rows."""
        return self.user_items.shape[0]

    @property
    def n_items(self) -> int:
        """Number of item rows."""
        return self.item_users.shape[0]

    def to(self, device: torch.device | str) -> "InteractionGraph":
        """The same graph on another device."""
        user_items = SparseGraph(self.user_items.forward, self.item_users.forward).to(device)
        item_items = None if self.item_items is None else self.item_items.to(device)
        return InteractionGraph(user_items, user_items.transposed(), item_items, self.symmetric)

    def with_dropped_edges(self, share: float, generator: torch.Generator) -> "InteractionGraph":
        """The graph without a random share of its interactions; the others count 1 ÷ (1 - share).

        An interaction is dropped in both directions. The edges between items stay.

        Args:
            share: At least 0 and below 1.
            generator: Of the CPU; one number for each interaction is drawn from it.
        """
        factors = edge_dropout_factors(len(self.user_items), share, generator)
        factors = factors.to(self.user_items.forward.values)
        to_users = self.user_items.forward.with_factors(factors)
        to_items = self.item_users.forward.with_factors(factors[self._transposed_order])
        return InteractionGraph(
            SparseGraph(to_users, to_items),
            SparseGraph(to_items, to_users),
            self.item_items,
            self.symmetric,
        )

    @cached_property
    def _transposed_order(self) -> Tensor:
        """int64 [n]: where each entry of `item_users` stands in `user_items`."""
        return torch.argsort(self.user_items.forward.columns, stable=True)

    def propagate(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """The product A_t E, without gradient.

        Args:
            users: float32 [U, d].
            items: float32 [I, d].

        Returns:
            Users and items of the product; new tensors.
        """
        to_users = self.user_items.forward @ items
        to_items = self.item_users.forward @ users
        if self.item_items is not None:
            to_items += self.item_items.forward @ items
        return to_users, to_items

    def select(self, users: Tensor | None, items: Tensor | None) -> "InteractionGraph":
        """The rows of some users (int64 [r_u], any order; None: all) and items (int64 [r_i])."""
        return InteractionGraph(
            self.user_items.select(users),
            self.item_users.select(items),
            None if self.item_items is None else self.item_items.select(items),
            self.symmetric,
        )

    def transposed(self) -> "InteractionGraph":
        """The transpose, which turns gradients of the product into gradients of the tables."""
        return InteractionGraph(
            self.item_users.transposed(),
            self.user_items.transposed(),
            None if self.item_items is None else self.item_items.transposed(),
            self.symmetric,
        )


def _scale(degrees: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Tensor:
    """D^-1/2, float32; nodes without edges have nothing to scale."""
    return torch.from_numpy(1 / np.sqrt(np.maximum(degrees, 1e-12))).float()
