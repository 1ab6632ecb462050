"""The correlation graph C_t: how it is built, and how it enters the graphs of an epoch.

Both are contracts. A `CorrelationBuilder` makes neighbours of the items' representations at the end
of an epoch; a `CorrelationEntry` says what C_t adds to the interaction graph, to a modality graph,
to the knowledge graph or to the graph of a view of yours. Nothing else in the package knows how C_t
enters: assembling, training and explaining ask the entries.

I = items, d = embedding size, K = neighbours of an item.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from slifmr_pl.config.bounds import require_counts
from slifmr_pl.config.parts import Part
from slifmr_pl.errors import ConfigError
from slifmr_pl.graphs.neighbours import Neighbours, NeighbourSearch, cosine_neighbours
from slifmr_pl.graphs.sparse.edges import Edges, add


class Target(NamedTuple):
    """A graph that C_t may enter.

    Attributes:
        kind: "interaction": the items' corner of the user–item graph, before it is normalised;
            "modality": a modality graph S_m; "knowledge": the knowledge graph, as one more
            relation; "view": the item graph of a view of the user's own.
        name: Of the modality or the view; otherwise empty.
    """

    kind: Literal["interaction", "modality", "knowledge", "view"]
    name: str = ""


class Injection(NamedTuple):
    """What C_t adds to a graph G, which becomes `keep · G + edges`.

    Attributes:
        edges: Weighted edges [I, I].
        keep: What the edges of a modality graph or of a view's graph itself still count: a number,
            or float32 [I], of which an edge takes the greater one of its two ends. 1 for other
            graphs.
        symmetric: Says that `edges` is its own transpose, to the last bit, which saves making one.
            Said of edges that are not, gradients are wrong.
    """

    edges: Edges
    keep: float | Tensor = 1.0
    symmetric: bool = False

    def added_to(self, graph: Edges) -> Edges:
        """`keep · G + edges` of a graph G [I, I]."""
        keep = self.keep
        if isinstance(keep, Tensor):
            keep = torch.maximum(keep[graph.rows], keep[graph.columns])
        return add(graph.with_values(graph.values * keep), self.edges)


class CorrelationEntry(Part, nn.Module):
    """A way in which C_t enters the graphs of an epoch. Subclass it to write another.

    It may own parameters. Where the edges that it gives depend on them, it sets `learned`: training
    then asks for the edges in every step, and propagates so that gradients reach their values.

    Attributes:
        learned: Whether gradients flow into the values of the edges.
    """

    learned: bool = False

    def build(self, data: "CorrelationData") -> None:
        """Creates parameters, where the entry has any; called once.

        Args:
            data: What the data set says of its items.
        """

    def enters(self, target: Target) -> bool:
        """Whether C_t enters a graph at all, also while C_t has no edges yet."""
        raise NotImplementedError

    def inject(self, target: Target, correlation: Edges) -> Injection:
        """What C_t adds to a graph that it enters.

        Args:
            target: The graph.
            correlation: C_t, normalised edges [I, I] on the device of training.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class CorrelationData:
    """What builders and entries may know of the data set.

    Attributes:
        n_items: I.
        support: int64 [I], training interactions of each item.
    """

    n_items: int
    support: Tensor


class IntoInteractions(CorrelationEntry):
    """γ·C_t in the items' corner of the user–item graph.

    Args:
        gamma: γ_ui, at least 0.
    """

    def __init__(self, gamma: float = 0.3) -> None:
        super().__init__()
        self.gamma = gamma

    def enters(self, target: Target) -> bool:
        """The interaction graph, where γ is above 0."""
        return target.kind == "interaction" and self.gamma > 0

    def inject(self, target: Target, correlation: Edges) -> Injection:
        """γ·C_t."""
        return Injection(correlation.scaled(self.gamma), symmetric=True)


class IntoModalities(CorrelationEntry):
    """S_m,t = (1-γ)·S_m + γ·C_t for every modality.

    Edges of S_m at an item of which C_t says nothing stay as they are.

    Args:
        gamma: γ_m, 0 to 1.
    """

    def __init__(self, gamma: float = 0.3) -> None:
        super().__init__()
        self.gamma = gamma

    def enters(self, target: Target) -> bool:
        """Every modality graph, where γ is above 0."""
        return target.kind == "modality" and self.gamma > 0

    def inject(self, target: Target, correlation: Edges) -> Injection:
        """γ·C_t beside (1-γ)·S_m."""
        keep = torch.where(correlation.row_lengths() > 0, 1.0 - self.gamma, 1.0)
        return Injection(correlation.scaled(self.gamma), keep, symmetric=True)


class IntoKnowledge(CorrelationEntry):
    """γ·C_t as one more relation of the knowledge graph.

    Args:
        gamma: γ_kg, at least 0.
    """

    def __init__(self, gamma: float = 0.3) -> None:
        super().__init__()
        self.gamma = gamma

    def enters(self, target: Target) -> bool:
        """The knowledge graph, where γ is above 0."""
        return target.kind == "knowledge" and self.gamma > 0

    def inject(self, target: Target, correlation: Edges) -> Injection:
        """γ·C_t."""
        return Injection(correlation.scaled(self.gamma), symmetric=True)


class CorrelationEntries(nn.ModuleList):
    """Some entries together: what they add is summed, what they keep is multiplied.

    Args:
        entries: Entries; each becomes a new one of the same class and arguments.
    """

    def __init__(self, entries: Iterable[CorrelationEntry] = ()) -> None:
        super().__init__([entry.fresh() for entry in entries])

    @property
    def _entries(self) -> list[CorrelationEntry]:
        return [entry for entry in self if isinstance(entry, CorrelationEntry)]

    def build(self, data: CorrelationData) -> None:
        """Creates the parameters of all entries."""
        for entry in self._entries:
            entry.build(data)

    @property
    def learned(self) -> bool:
        """Whether gradients flow into the edges of some entry."""
        return any(entry.learned for entry in self._entries)

    def any_enters(self, target: Target) -> bool:
        """Whether C_t enters a graph by any of them."""
        return any(entry.enters(target) for entry in self._entries)

    def inject(self, target: Target, correlation: Edges | None) -> Injection | None:
        """What C_t adds to a graph by all of them; None while nothing enters it.

        Raises:
            ConfigError: If an entry gives edges of another shape, or thins out a graph that it
                cannot.
        """
        if correlation is None or len(correlation) == 0:
            return None
        parts = []
        for entry in self._entries:
            if entry.enters(target):
                parts.append(entry.inject(target, correlation))
                _check_injection(entry, target, parts[-1], correlation.shape)
        if len(parts) < 2:
            return parts[0] if parts else None
        keep = prod(part.keep for part in parts)
        edges = add(*(part.edges for part in parts))
        return Injection(edges, keep, all(part.symmetric for part in parts))


def _check_injection(
    entry: CorrelationEntry, target: Target, injection: Injection, shape: tuple[int, int]
) -> None:
    name = type(entry).__name__
    if injection.edges.shape != shape:
        raise ConfigError(
            f"{name}.inject gave edges of shape {list(injection.edges.shape)}",
            expected=f"edges between items, {list(shape)}",
            fix="make them of the edges that it is given, for example with `with_values`",
        )
    keep = torch.as_tensor(injection.keep)
    if target.kind in ("interaction", "knowledge") and bool((keep != 1).any()):
        raise ConfigError(
            f"{name}.inject keeps {float(keep.min()):g} of the {target.kind} graph",
            expected="keep 1: only modality graphs and graphs of views are mixed with C_t",
            fix="give another keep for target.kind modality alone",
        )
    if injection.edges.values.requires_grad and not entry.learned:
        raise ConfigError(
            f"{name}.inject gave edges that depend on its parameters",
            expected="learned = True in the class: edges are else made once an epoch, untrained",
            fix="set it; or detach the edges, where nothing is meant to be learned",
        )


class CorrelationBuilder(Part):
    """A way to make C_t of the items' representations. Subclass it to write another.

    Attributes:
        neighbours: K, the most neighbours of an item that `build` gives.
    """

    neighbours: int

    def build(self, representations: Tensor, data: CorrelationData) -> Neighbours:
        """The neighbours of each item, at the end of an epoch.

        Args:
            representations: f_t float32 [I, d], the moving average of the items' representations.
            data: What the data set says of its items; `data.support` tells items without
                interactions.

        Returns:
            Indices int64 [I, K], -1 where there is none, and weights float32 [I, K].
        """
        raise NotImplementedError


class CosineBuilder(CorrelationBuilder):
    """The K items of highest cosine similarity, of those above 0.

    Args:
        neighbours: K.
        search: Exact or approximate search.
        least_support: Training interactions that an item needs to have neighbours, and to be one.
    """

    def __init__(
        self,
        neighbours: int = 10,
        search: NeighbourSearch = NeighbourSearch(),
        least_support: int = 1,
    ) -> None:
        require_counts("model.self_loop", 1, neighbours=neighbours)
        require_counts("model.self_loop", 0, least_support=least_support)
        self.neighbours = neighbours
        self.search = search
        self.least_support = least_support

    @torch.no_grad()
    def build(self, representations: Tensor, data: CorrelationData) -> Neighbours:
        """The nearest neighbours, see `cosine_neighbours`."""
        supported = data.support.to(representations.device) >= self.least_support
        return cosine_neighbours(
            representations, self.neighbours, present=supported, search=self.search
        )
