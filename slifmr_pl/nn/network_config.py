"""What the network is made of; every view can be switched off."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from slifmr_pl.config.bounds import require, require_counts, require_from, require_share
from slifmr_pl.errors import ConfigError
from slifmr_pl.nn.fusion import Fusion
from slifmr_pl.nn.views import View

FusionPlace = Literal["late", "early"]
PropagationMode = Literal["auto", "fused", "reference"]


@dataclass(frozen=True)
class InteractionConfig:
    """The interaction view: LightGCN on A_t.

    Attributes:
        layers: Propagation layers L_ui; 0 leaves plain matrix factorisation.
        edge_dropout: Share of the interactions that each training step leaves out of the graph, at
            least 0 and below 1.
    """

    layers: int = 2
    edge_dropout: float = 0.0


@dataclass(frozen=True)
class ModalityConfig:
    """The modality views: propagation over the graphs S_m,t.

    Attributes:
        enabled: Whether modality graphs take part in the score.
        layers: Propagation layers L_m.
        weight: β_mm, weight of the modality views in the fused item.
        attention: Per-item attention over modalities; otherwise their mean.
        weighted_edges: Edges keep their cosine similarity; otherwise each counts 1.
    """

    enabled: bool = True
    layers: int = 1
    weight: float = 1.0
    attention: bool = True
    weighted_edges: bool = False


@dataclass(frozen=True)
class KnowledgeConfig:
    """The knowledge view: relation-aware layers over G_t.

    Attributes:
        enabled: Whether the knowledge graph takes part.
        layers: Layers L_kg.
        weight: β_kg, weight of the knowledge view in the fused item.
        attention: Relation-aware attention, refreshed once an epoch from the embeddings and the
            first layer's relation weights; otherwise every triple of a head counts the same.
    """

    enabled: bool = True
    layers: int = 1
    weight: float = 1.0
    attention: bool = True


@dataclass(frozen=True)
class RegressionConfig:
    """The regression view: a closed-form regression of each item on all others, added to scores.

    It regresses the users' interactions, and with them what is known of the items: features of
    the modalities and facts of the knowledge graph, where those views are enabled. It has no
    parameters, and training does not see it.

    Attributes:
        enabled: Whether it takes part in the score.
        weight: ω, its weight; at 1, its scores have the same standard deviation over the catalogue
            as those of the other views, for every user.
            None: before each validation of `fit`, the best for a sample of the validation users
            is chosen among 0 and some values up to 1. Without validation it is 0.35.
        rank: Most eigenvectors to keep. User and item vectors grow by as many numbers, and
            so does the time that ranking the catalogue takes.
        ridge: λ, how much co-interaction an item needs to count; at least 1.
        side_information: How many interactions an item's features in a modality count like, and
            its facts; 0 regresses interactions alone.
    """

    enabled: bool = True
    weight: float | None = None
    rank: int = 256
    ridge: float = 200.0
    side_information: float = 20.0


@dataclass(frozen=True)
class NetworkConfig:
    """The network.

    Attributes:
        embedding_dim: Embedding size d.
        interaction: The interaction view.
        modality: The modality views.
        knowledge: The knowledge view.
        regression: The regression view.
        views: Further views of the items, of classes of your own.
        fusion: "early" adds the views to the item embeddings before they propagate over
            interactions, so that users receive them too; "late" adds them to the propagated items.
            A class of your own says how, too.
        propagation: "fused" propagates with hand-written gradients; "reference" in ordinary
            autograd, several times slower and with more memory, with the same result up to
            rounding; "auto" takes the first, unless something learns the weights of edges.
        user_fusion: Weight of the mean of a user's fused items in the user's representation;
            0 leaves u* = u_ui.
    """

    embedding_dim: int = 64
    interaction: InteractionConfig = field(default_factory=InteractionConfig)
    modality: ModalityConfig = field(default_factory=ModalityConfig)
    knowledge: KnowledgeConfig = field(default_factory=KnowledgeConfig)
    regression: RegressionConfig = field(default_factory=RegressionConfig)
    views: list[View] = field(default_factory=list)
    fusion: FusionPlace | Fusion = "early"
    propagation: PropagationMode = "auto"
    user_fusion: float = 0.0

    def __post_init__(self) -> None:
        require_counts("model.network", 1, embedding_dim=self.embedding_dim)
        require_counts("model.network.interaction", 0, layers=self.interaction.layers)
        require_counts("model.network.modality", 1, layers=self.modality.layers)
        require_counts("model.network.knowledge", 1, layers=self.knowledge.layers)
        require_counts("model.network.regression", 1, rank=self.regression.rank)
        require_from("model.network.modality", 0, weight=self.modality.weight)
        require_from("model.network.knowledge", 0, weight=self.knowledge.weight)
        regression = self.regression
        require_from("model.network.regression", 0, side_information=regression.side_information)
        require_from("model.network.regression", 1, ridge=regression.ridge)
        if regression.weight is not None:
            require_from("model.network.regression", 0, weight=regression.weight)
        require_from("model.network", 0, user_fusion=self.user_fusion)
        require_share("model.network.interaction", edge_dropout=self.interaction.edge_dropout)
        fusion, mode = self.fusion, self.propagation
        is_fusion = isinstance(fusion, Fusion) or fusion in get_args(FusionPlace)
        modes, are_views = get_args(PropagationMode), all(isinstance(v, View) for v in self.views)
        require(
            "model.network",
            ("fusion", fusion, is_fusion, "late, early or a Fusion"),
            ("propagation", mode, mode in modes, " or ".join(modes)),
            ("views", self.views, are_views, "a list of View"),
        )
        names = [view.name for view in self.views]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"network.views has the names {', '.join(names)}",
                expected="a name of its own for each view",
                fix="set `name` in the class of one of them, or in its constructor",
            )
