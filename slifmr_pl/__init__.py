"""SLIF-MR: self-loop iterative fusion for multimodal, knowledge-aware recommendation.

The public names are here: models, data modules and configurations, the contracts that a class of
your own can keep (docs/extending.md), and what they are handed. Each is imported when it is asked
for, so that `import slifmr_pl` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slifmr_pl.config.parts import Part
    from slifmr_pl.data.batches import TrainBatch
    from slifmr_pl.data.canonical import RawData
    from slifmr_pl.data.dataset import FilterConfig, RecommendationData, SplitConfig
    from slifmr_pl.data.features import ModalitySource
    from slifmr_pl.data.formats.frames import raw_data
    from slifmr_pl.data.frozen_features import FrozenFeatures
    from slifmr_pl.data.interactions import Interactions, UserItems
    from slifmr_pl.data.reader import Reader, Source, TablePiece, table_pieces
    from slifmr_pl.data.sampler import NegativeSampler, UniformSampler
    from slifmr_pl.data.table_columns import FileRows
    from slifmr_pl.data.vocabulary import Vocabulary
    from slifmr_pl.datamodule import SlifMrDataModule
    from slifmr_pl.errors import CheckpointError, ConfigError, DataError
    from slifmr_pl.explanation import Explanation, ScoreShare
    from slifmr_pl.graphs.correlation import (
        CorrelationBuilder,
        CorrelationData,
        CorrelationEntry,
        Injection,
        IntoInteractions,
        IntoKnowledge,
        IntoModalities,
        Target,
    )
    from slifmr_pl.graphs.item_graphs import item_edges
    from slifmr_pl.graphs.model_inputs import ItemFeatures, ModelInputs
    from slifmr_pl.graphs.neighbours import Neighbours, NeighbourSearch, cosine_neighbours
    from slifmr_pl.graphs.sparse.edges import Edges
    from slifmr_pl.graphs.sparse.spmm import spmm
    from slifmr_pl.losses.alignment import info_nce
    from slifmr_pl.losses.context import AlignedView, LossContext
    from slifmr_pl.losses.objective import LossConfig
    from slifmr_pl.losses.ranking_losses import bpr_loss, sampled_softmax_loss
    from slifmr_pl.losses.regularisation import embedding_l2
    from slifmr_pl.losses.terms import LossData, LossTerm
    from slifmr_pl.metrics.metric import CatalogueMetric, RankingMetric, UserMetric
    from slifmr_pl.metrics.metric_inputs import MetricInputs
    from slifmr_pl.metrics.ranked_lists import RankedLists
    from slifmr_pl.models.base import RecommenderModule, load_model
    from slifmr_pl.models.ranking_module import Vectors
    from slifmr_pl.module import SlifMrModule
    from slifmr_pl.nn.fusion import FusedViews, Fusion, ItemView
    from slifmr_pl.nn.network_config import (
        InteractionConfig,
        KnowledgeConfig,
        ModalityConfig,
        NetworkConfig,
        RegressionConfig,
    )
    from slifmr_pl.nn.optimizer import OptimizerConfig
    from slifmr_pl.nn.propagation import propagate_mean
    from slifmr_pl.nn.self_loop import SelfLoopConfig
    from slifmr_pl.nn.views import NetworkData, View, ViewContext
    from slifmr_pl.recommendation_datamodule import RecommendationDataModule
    from slifmr_pl.serving.recommender import Recommender

__version__ = "0.1.0"

__all__ = [
    "AlignedView",
    "CatalogueMetric",
    "CheckpointError",
    "ConfigError",
    "CorrelationBuilder",
    "CorrelationData",
    "CorrelationEntry",
    "DataError",
    "Edges",
    "Explanation",
    "FileRows",
    "FilterConfig",
    "FrozenFeatures",
    "FusedViews",
    "Fusion",
    "Injection",
    "InteractionConfig",
    "Interactions",
    "IntoInteractions",
    "IntoKnowledge",
    "IntoModalities",
    "ItemFeatures",
    "ItemView",
    "KnowledgeConfig",
    "LossConfig",
    "LossContext",
    "LossData",
    "LossTerm",
    "MetricInputs",
    "ModalityConfig",
    "ModalitySource",
    "ModelInputs",
    "NegativeSampler",
    "NeighbourSearch",
    "Neighbours",
    "NetworkConfig",
    "NetworkData",
    "OptimizerConfig",
    "Part",
    "RankedLists",
    "RankingMetric",
    "RawData",
    "Reader",
    "RecommendationData",
    "RecommendationDataModule",
    "Recommender",
    "RecommenderModule",
    "RegressionConfig",
    "ScoreShare",
    "SelfLoopConfig",
    "SlifMrDataModule",
    "SlifMrModule",
    "Source",
    "SplitConfig",
    "TablePiece",
    "Target",
    "TrainBatch",
    "UniformSampler",
    "UserItems",
    "UserMetric",
    "Vectors",
    "View",
    "ViewContext",
    "Vocabulary",
    "bpr_loss",
    "cosine_neighbours",
    "embedding_l2",
    "info_nce",
    "item_edges",
    "load_model",
    "propagate_mean",
    "raw_data",
    "sampled_softmax_loss",
    "spmm",
    "table_pieces",
]

_MODULES = {
    "AlignedView": "losses.context",
    "CatalogueMetric": "metrics.metric",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "CorrelationBuilder": "graphs.correlation",
    "CorrelationData": "graphs.correlation",
    "CorrelationEntry": "graphs.correlation",
    "DataError": "errors",
    "Edges": "graphs.sparse.edges",
    "Explanation": "explanation",
    "FileRows": "data.table_columns",
    "FilterConfig": "data.dataset",
    "FrozenFeatures": "data.frozen_features",
    "FusedViews": "nn.fusion",
    "Fusion": "nn.fusion",
    "Injection": "graphs.correlation",
    "InteractionConfig": "nn.network_config",
    "Interactions": "data.interactions",
    "IntoInteractions": "graphs.correlation",
    "IntoKnowledge": "graphs.correlation",
    "IntoModalities": "graphs.correlation",
    "ItemFeatures": "graphs.model_inputs",
    "ItemView": "nn.fusion",
    "KnowledgeConfig": "nn.network_config",
    "LossConfig": "losses.objective",
    "LossContext": "losses.context",
    "LossData": "losses.terms",
    "LossTerm": "losses.terms",
    "MetricInputs": "metrics.metric_inputs",
    "ModalityConfig": "nn.network_config",
    "ModalitySource": "data.features",
    "ModelInputs": "graphs.model_inputs",
    "NegativeSampler": "data.sampler",
    "NeighbourSearch": "graphs.neighbours",
    "Neighbours": "graphs.neighbours",
    "NetworkConfig": "nn.network_config",
    "NetworkData": "nn.views",
    "OptimizerConfig": "nn.optimizer",
    "Part": "config.parts",
    "RankedLists": "metrics.ranked_lists",
    "RankingMetric": "metrics.metric",
    "RawData": "data.canonical",
    "Reader": "data.reader",
    "RecommendationData": "data.dataset",
    "RecommendationDataModule": "recommendation_datamodule",
    "Recommender": "serving.recommender",
    "RecommenderModule": "models.base",
    "RegressionConfig": "nn.network_config",
    "ScoreShare": "explanation",
    "SelfLoopConfig": "nn.self_loop",
    "SlifMrDataModule": "datamodule",
    "SlifMrModule": "module",
    "Source": "data.reader",
    "SplitConfig": "data.dataset",
    "TablePiece": "data.reader",
    "Target": "graphs.correlation",
    "TrainBatch": "data.batches",
    "UniformSampler": "data.sampler",
    "UserItems": "data.interactions",
    "UserMetric": "metrics.metric",
    "Vectors": "models.ranking_module",
    "View": "nn.views",
    "ViewContext": "nn.views",
    "Vocabulary": "data.vocabulary",
    "bpr_loss": "losses.ranking_losses",
    "cosine_neighbours": "graphs.neighbours",
    "embedding_l2": "losses.regularisation",
    "info_nce": "losses.alignment",
    "item_edges": "graphs.item_graphs",
    "load_model": "models.base",
    "propagate_mean": "nn.propagation",
    "raw_data": "data.formats.frames",
    "sampled_softmax_loss": "losses.ranking_losses",
    "spmm": "graphs.sparse.spmm",
    "table_pieces": "data.reader",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """The public names, also those that are not imported yet."""
    return [*globals(), *__all__]
