"""The self-loop: item representations of one epoch become a graph of the next.

Everything that training derives from its own weights lives here twice. `build_next` writes the
*next* graph at the end of an epoch, `promote_next` makes it current at the start of the following
one. A checkpoint that is saved in between holds the graph that its metrics were measured with, and
the one to go on with. State is dense, since DistributedDataParallel fails on sparse buffers.
I = items, K = neighbours, d = embedding size, T = directed triples.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from slifmr_pl.config.bounds import (
    is_number,
    require,
    require_counts,
    require_from,
    require_share,
)
from slifmr_pl.errors import ConfigError, DivergenceError
from slifmr_pl.graphs.correlation import (
    CorrelationBuilder,
    CorrelationData,
    CorrelationEntry,
    CosineBuilder,
    IntoInteractions,
    IntoKnowledge,
    IntoModalities,
)
from slifmr_pl.graphs.item_graphs import edge_overlap, item_edges
from slifmr_pl.graphs.neighbours import Neighbours, NeighbourSearch
from slifmr_pl.graphs.sparse.edges import Edges


@dataclass(frozen=True)
class SelfLoopConfig:
    """The feedback of item representations into the graphs.

    Attributes:
        enabled: Whether there is a self-loop.
        neighbours: K, nearest neighbours of an item in the correlation graph.
        gamma_interaction: γ_ui, weight of the correlation edges in the interaction view.
        gamma_modality: γ_m, their share in each modality view, 0 to 1.
        gamma_knowledge: γ_kg, their weight as a relation of the knowledge view.
        momentum: ρ of the feedback f_t = ρ·f_{t-1} + (1-ρ)·i*_t.
        warmup: First epoch (from 0) that may use a correlation graph; at least 1, since epoch 0
            has nothing to feed back.
        period: Epochs from one rebuild to the next.
        weighted: Correlation edges keep their cosine similarity; otherwise each counts 1.
        search: Exact or approximate search of the nearest neighbours.
        least_support: Training interactions that an item needs to have neighbours in the
            correlation graph, and to be one. Items with fewer have no part in the loop.
        builder: How the correlation graph is built of the feedback, by a class of your own, in
            place of the nearest neighbours by `neighbours`, `search` and `least_support`.
        entries: How the correlation graph enters the others, by classes of your own, in place of
            the three weights gamma.
    """

    enabled: bool = True
    neighbours: int = 10
    gamma_interaction: float = 0.3
    gamma_modality: float = 0.3
    gamma_knowledge: float = 0.3
    momentum: float = 0.9
    warmup: int = 1
    period: int = 1
    weighted: bool = False
    search: NeighbourSearch = NeighbourSearch()
    least_support: int = 1
    builder: CorrelationBuilder | None = None
    entries: list[CorrelationEntry] | None = None

    def __post_init__(self) -> None:
        require_counts(
            "model.self_loop", 1, neighbours=self.neighbours, warmup=self.warmup, period=self.period
        )
        require_counts("model.self_loop", 0, least_support=self.least_support)
        require_from("model.self_loop", 0, gamma_interaction=self.gamma_interaction)
        require_from("model.self_loop", 0, gamma_knowledge=self.gamma_knowledge)
        require_from("model.self_loop", 0, 1, gamma_modality=self.gamma_modality)
        require_share("model.self_loop", momentum=self.momentum)
        is_builder = self.builder is None or isinstance(self.builder, CorrelationBuilder)
        are_entries = all(isinstance(entry, CorrelationEntry) for entry in self.entries or ())
        require(
            "model.self_loop",
            ("builder", self.builder, is_builder, "a CorrelationBuilder"),
            ("entries", self.entries, are_entries, "a list of CorrelationEntry"),
        )
        defaults = {field.name: field.default for field in fields(self)}
        for part, others in (
            (self.builder, ("neighbours", "search", "least_support")),
            (self.entries, ("gamma_interaction", "gamma_modality", "gamma_knowledge")),
        ):
            changed = [name for name in others if getattr(self, name) != defaults[name]]
            if part is not None and changed:
                chosen = "builder" if part is self.builder else "entries"
                raise ConfigError(
                    f"self_loop.{chosen} and self_loop.{changed[0]}",
                    expected=f"one of them: {chosen} takes the place of {', '.join(others)}",
                    fix=f"leave out model.self_loop.{changed[0]}",
                )

    @property
    def all_entries(self) -> list[CorrelationEntry]:
        """How the correlation graph enters the others; empty when the loop is off."""
        if not self.enabled:
            return []
        if self.entries is not None:
            return self.entries
        return [
            IntoInteractions(self.gamma_interaction),
            IntoModalities(self.gamma_modality),
            IntoKnowledge(self.gamma_knowledge),
        ]

    @property
    def correlation_builder(self) -> CorrelationBuilder:
        """How the correlation graph is built, anew.

        Raises:
            ConfigError: If a builder of the user's does not say how many neighbours it gives.
        """
        if self.builder is None:
            return CosineBuilder(self.neighbours, self.search, self.least_support)
        builder = self.builder.fresh()
        neighbours = getattr(builder, "neighbours", None)
        if not is_number(neighbours, least=1, whole=True):
            raise ConfigError(
                f"{type(builder).__name__}.neighbours is {neighbours!r}",
                expected="the most neighbours of an item that `build` gives, at least 1",
                fix="set self.neighbours in its constructor",
            )
        return builder


@dataclass(frozen=True)
class CorrelationStatistics:
    """What one rebuild did to the correlation graph.

    Attributes:
        edges: Directed edges of the new graph.
        overlap: Jaccard similarity of its edges with those of the graph before.
        similarity: Mean cosine similarity of its neighbours.
    """

    edges: int
    overlap: float
    similarity: float


class SelfLoop(nn.Module):
    """Correlation graph, attention and feedback of this epoch and the next.

    Args:
        config: The feedback.
        data: What the data set says of its items.
        dim: d.
        attention: float32 [T], attention to start with; None where it is not refreshed.
    """

    current_neighbours: Tensor
    current_weights: Tensor
    next_neighbours: Tensor
    next_weights: Tensor
    current_attention: Tensor
    next_attention: Tensor
    feedback: Tensor
    updates: Tensor

    def __init__(
        self,
        config: SelfLoopConfig,
        data: CorrelationData,
        dim: int,
        attention: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.builder = config.correlation_builder
        self.data = data
        n_items = data.n_items
        slots = (n_items, self.builder.neighbours) if config.enabled else (0, 0)
        for name in ("current", "next"):
            self.register_buffer(f"{name}_neighbours", torch.full(slots, -1, dtype=torch.int64))
            self.register_buffer(f"{name}_weights", torch.zeros(slots))
            start = torch.empty(0) if attention is None else attention.clone()
            self.register_buffer(f"{name}_attention", start)
        self.register_buffer("feedback", torch.zeros(n_items if config.enabled else 0, dim))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def correlation(self) -> Edges | None:
        """C_t of this epoch as normalised edges [I, I]; None without a self-loop."""
        if not self.config.enabled:
            return None
        return self._edges(self.current_neighbours, self.current_weights)

    def attention(self) -> Tensor | None:
        """Attention of this epoch, float32 [T]; None where it is not refreshed."""
        return self.current_attention if len(self.current_attention) else None

    def promote_next(self) -> None:
        """Makes the next graph and attention current; a second call changes nothing."""
        self.current_neighbours.copy_(self.next_neighbours)
        self.current_weights.copy_(self.next_weights)
        self.current_attention.copy_(self.next_attention)

    @torch.no_grad()
    def build_next(
        self, epoch: int, items: Tensor | None, attention: Tensor | None
    ) -> CorrelationStatistics | None:
        """Takes in what epoch `epoch` learned and builds the next graph.

        Args:
            epoch: The epoch that ends, from 0.
            items: i*_t float32 [I, d]; not needed while the loop is off.
            attention: Attention from the present weights, float32 [T], or None.

        Returns:
            Statistics if the correlation graph was rebuilt.

        Raises:
            DivergenceError: If training diverged.
        """
        if attention is not None:
            self.next_attention.copy_(attention)
        if not self.config.enabled:
            return None
        assert items is not None
        if not bool(items.isfinite().all()):
            raise DivergenceError(
                f"training diverged: after epoch {epoch} item representations are not finite",
                expected="finite representations",
                fix="lower model.optimizer.learning_rate, or set trainer.gradient_clip_val",
            )
        momentum = self.config.momentum if self.updates > 0 else 0.0
        self.feedback.mul_(momentum).add_(items, alpha=1.0 - momentum)
        self.updates += 1
        age = epoch + 1 - self.config.warmup
        if age < 0 or age % self.config.period:
            return None
        before = self._edges(self.next_neighbours, self.next_weights)
        neighbours = self.builder.build(self.feedback, self.data)
        self._check(neighbours)
        self.next_neighbours.copy_(neighbours.indices)
        self.next_weights.copy_(neighbours.weights)
        after = self._edges(self.next_neighbours, self.next_weights)
        n_neighbours = (neighbours.indices >= 0).sum()
        return CorrelationStatistics(
            edges=len(after),
            overlap=edge_overlap(before, after),
            similarity=float(neighbours.weights.sum() / n_neighbours.clamp_min(1)),
        )

    def _check(self, neighbours: Neighbours) -> None:
        """Refuses what a builder must not give: it would be read far from here."""
        shape = tuple(self.next_neighbours.shape)
        indices, weights = neighbours
        if (
            tuple(indices.shape) != shape
            or tuple(weights.shape) != shape
            or (indices.numel() and not int(indices.min()) >= -1)
            or (indices.numel() and not int(indices.max()) < self.data.n_items)
            or not bool(weights.isfinite().all())
        ):
            raise ConfigError(
                f"{type(self.builder).__name__} gave neighbours {tuple(indices.shape)} with "
                f"weights {tuple(weights.shape)}",
                expected=f"item rows or -1, and finite weights, each {list(shape)}",
                fix="fill up lists that are too short with -1 and weight 0",
            )

    def _edges(self, indices: Tensor, weights: Tensor) -> Edges:
        return item_edges(Neighbours(indices, weights), weighted=self.config.weighted)
