"""SLIF-MR: self-loop iterative fusion for multimodal, knowledge-aware recommendation.

The main names are here. Each is imported when it is asked for, so that `import slifmr_pl` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slifmr_pl.data.features import ModalitySource
    from slifmr_pl.datamodule import SlifMrDataModule
    from slifmr_pl.losses.objective import LossConfig
    from slifmr_pl.models.base import RecommenderModule, load_model
    from slifmr_pl.module import SlifMrModule
    from slifmr_pl.nn.config import NetworkConfig
    from slifmr_pl.nn.self_loop import SelfLoopConfig
    from slifmr_pl.recommendation_datamodule import RecommendationDataModule
    from slifmr_pl.serving.recommender import Recommender

__version__ = "0.1.0"

__all__ = [
    "LossConfig",
    "ModalitySource",
    "NetworkConfig",
    "RecommendationDataModule",
    "Recommender",
    "RecommenderModule",
    "SelfLoopConfig",
    "SlifMrDataModule",
    "SlifMrModule",
    "load_model",
]

_MODULES = {
    "LossConfig": "losses.objective",
    "ModalitySource": "data.features",
    "NetworkConfig": "nn.config",
    "Recommender": "serving.recommender",
    "RecommendationDataModule": "recommendation_datamodule",
    "RecommenderModule": "models.base",
    "SelfLoopConfig": "nn.self_loop",
    "SlifMrDataModule": "datamodule",
    "SlifMrModule": "module",
    "load_model": "models.base",
}


def __getattr__(name: str) -> Any:
    """Imports a name when it is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """The main names, also those that are not imported yet."""
    return [*globals(), *__all__]
