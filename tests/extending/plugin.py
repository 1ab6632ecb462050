"""The plug-in of the tests: `--plugins tests.extending.plugin` makes all parts known by name."""

from tests.extending.parts.bought_together import BoughtTogether
from tests.extending.parts.clusters_data import ClustersDataModule
from tests.extending.parts.gated_correlation import GatedCorrelation
from tests.extending.parts.intra_list_diversity import IntraListDiversity
from tests.extending.parts.likes_reader import LikesReader
from tests.extending.parts.pooled_cnn import PooledCnn
from tests.extending.parts.popularity_debias import PopularityDebias
from tests.extending.parts.popularity_sampler import PopularitySampler
from tests.extending.parts.simgcl import SimGcl
from tests.extending.parts.sounds import MeanLogSpectrum, Sound

__all__ = [
    "BoughtTogether",
    "ClustersDataModule",
    "GatedCorrelation",
    "IntraListDiversity",
    "LikesReader",
    "MeanLogSpectrum",
    "PooledCnn",
    "PopularityDebias",
    "PopularitySampler",
    "SimGcl",
    "Sound",
]
